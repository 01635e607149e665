package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/params"
	"daybook/tsdb"
)

type queryCommand struct {
	dir       string
	daemon    daemonFlags
	format    string
	limit     uint32
	open      bool
	details   bool
	texts     map[string]*string   // by parameter
	repeated  map[string]*[]string // the same
	shortName map[string]string    // flag: the parameter that it is short for
}

// queryTexts and queryLists are the filters that are flags with a value, once
// or repeatable, by parameter.
var (
	queryTexts = []struct{ param, help string }{
		{"worker_group", "Only of this worker group: the host name without pod hashes."},
		{"exception_type", "Only with this exception type."},
		{"root_id", "Only of the chain, group or chord with this root."},
		{"task_id", "Only this one."},
		{"q", `Words that have to be in the id, name, args, kwargs, result, exception or traceback; "a phrase", prefix*, /substring/. A task id that is a UUID is one word: a short id is its beginning, d773f914*.`},
		{"from", "Row time from: RFC 3339, a date, Unix seconds, now, or before now, written --from=-1h."},
		{"to", "Row time before: as --from."},
		{"min_runtime_ms", "Ran at least so many milliseconds."},
		{"max_runtime_ms", "Ran at most so many milliseconds."},
		{"min_retries", "Retried at least so often."},
		{"min_age", "Only open ones whose last event is so long ago, such as 10m."},
		{"order", "newest or oldest first; newest if not given."},
		{"cursor", "Go on where a query with the same filters ended: it says where on stderr."},
	}
	queryLists = []struct{ param, help string }{
		{"task_name", "Only tasks of this name; a trailing * stands for any end. Repeatable: any of them."},
		{"state", "Only in this state. Repeatable."},
		{"worker", "Only on this worker. Repeatable."},
		{"queue", "Only from this queue. Repeatable."},
	}
	queryShort = []struct{ short, param string }{{"task", "task_name"}, {"exception", "exception_type"}, {"root", "root_id"}}
)

func flagOf(param string) string { return strings.ReplaceAll(param, "_", "-") }

func (c *queryCommand) register(cmd *kingpin.CmdClause) {
	storagePathFlag(cmd, &c.dir)
	c.daemon.register(cmd)
	c.texts, c.repeated, c.shortName = map[string]*string{}, map[string]*[]string{}, map[string]string{}
	for _, f := range queryLists {
		c.repeated[f.param] = cmd.Flag(flagOf(f.param), f.help).Strings()
	}
	for _, f := range queryTexts {
		c.texts[f.param] = cmd.Flag(flagOf(f.param), f.help).String()
	}
	for _, f := range queryShort {
		c.shortName[f.short] = f.param
		c.repeated[f.short] = cmd.Flag(f.short, "Short for --"+flagOf(f.param)+".").Strings()
	}
	cmd.Flag("open", "Only what is neither finished nor given up.").BoolVar(&c.open)
	cmd.Flag("details", "With args, kwargs, result, exception_message and traceback; --no-details leaves them out.").Default("true").BoolVar(&c.details)
	countFlag(cmd.Flag("limit", "Number of invocations to stop after; 0 is all of them."), &c.limit, "50")
	cmd.Flag("format", "Form of the output: table, ndjson or csv; table on a terminal, else ndjson, if not given.").EnumVar(&c.format, "table", "ndjson", "csv")
}

// values are the parameters of GET /api/v1/invocations that the flags stand for.
func (c *queryCommand) values() url.Values {
	v := url.Values{}
	for param, s := range c.texts {
		if *s != "" {
			v.Add(param, *s)
		}
	}
	for param, list := range c.repeated {
		if long, short := c.shortName[param]; short {
			param = long
		}
		v[param] = append(v[param], *list...)
	}
	if c.open {
		v.Set("open", "true")
	}
	if !c.details || c.format == "table" { // which shows none
		v.Set("details", "false")
	}
	return v
}

// terminal reports whether a person is reading.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (c *queryCommand) run() error {
	if c.format == "" {
		c.format = "ndjson"
		if terminal(os.Stdout) {
			c.format = "table"
		}
	}
	given := c.values()
	if _, err := params.ParseList(given, time.Now()); err != nil {
		return &tsdb.OptionsError{Err: err}
	}
	client, err := c.daemon.client()
	if err != nil {
		return &tsdb.OptionsError{Err: err}
	}
	if client != nil {
		err := interruptible(func(ctx context.Context) error { return c.walk(ctx, given, client) })
		var none *noDaemonError
		if !errors.As(err, &none) {
			return err
		}
		fmt.Fprintf(os.Stderr, "daybook: %v: reading the files in %s\n", none, c.dir)
	} else {
		fmt.Fprintf(os.Stderr, "daybook: reading the files in %s\n", c.dir)
	}
	return inspect(c.dir, func(ctx context.Context, db *tsdb.DB) error {
		return c.walk(ctx, given, &filePages{db, time.Now()})
	})
}

// pager answers one page: of a daemon, or of the files.
type pager interface {
	page(ctx context.Context, given url.Values) (queryPage, error)
}

// queryPage is what both say.
type queryPage struct {
	tsdb.Page
	next string // cursor, "" at the end
}

// filePages answers from a data directory.
type filePages struct {
	db  *tsdb.DB
	now time.Time
}

func (f *filePages) page(ctx context.Context, given url.Values) (queryPage, error) {
	l, err := params.ParseList(given, f.now)
	if err != nil {
		return queryPage{}, &tsdb.OptionsError{Err: err}
	}
	page, err := f.db.Select(ctx, l.Query)
	if err == nil {
		err = ctx.Err()
	}
	out := queryPage{Page: page}
	if page.Next != nil {
		out.next = l.Cursor(*page.Next)
	}
	return out, err
}

// walk prints pages until there are enough, and then what they do not cover.
func (c *queryCommand) walk(ctx context.Context, given url.Values, from pager) error {
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	var p printer
	var seen coverageNotes
	printed := 0
	for {
		want := params.MaxLimit
		if c.limit > 0 {
			want = min(want, int(c.limit)-printed)
		}
		given.Set("limit", strconv.Itoa(want))
		page, err := from.page(ctx, given)
		if err != nil {
			return errors.Join(w.Flush(), queryError(err))
		}
		if p == nil {
			if d, ok := from.(*daemonClient); ok {
				fmt.Fprintf(os.Stderr, "daybook: asking the daemon at %s\n", d.shown)
			}
			p = newPrinter(c.format, w)
		}
		for i := range page.Invocations {
			p.print(&page.Invocations[i])
		}
		if _, err := w.Write(nil); err != nil { // the error that w keeps
			return fmt.Errorf("query: %w", err)
		}
		printed += len(page.Invocations)
		seen.add(&page.Coverage)
		enough := c.limit > 0 && printed >= int(c.limit)
		if page.next == "" || enough {
			p.end()
			if err := w.Flush(); err != nil {
				return fmt.Errorf("query: %w", err)
			}
			seen.print(os.Stderr, printed, page.Complete)
			if page.next != "" {
				fmt.Fprintf(os.Stderr, "daybook: there are more: --cursor=%s goes on, --limit=0 prints all\n", page.next)
			}
			return nil
		}
		given.Set("cursor", page.next)
	}
}

// queryError leaves errors alone that decide what happens next.
func queryError(err error) error {
	var none *noDaemonError
	var option *tsdb.OptionsError
	if errors.As(err, &none) || errors.As(err, &option) {
		return err
	}
	return fmt.Errorf("query: %w", err)
}
