package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"daybook/blocks"
	"daybook/cmd/internal/params"
	"daybook/tsdb"
)

type sqlCommand struct {
	dir      string
	from, to string
	attach   bool
	format   string
	query    string
}

func (c *sqlCommand) register(cmd *kingpin.CmdClause) {
	storagePathFlag(cmd, &c.dir)
	cmd.Flag("from", "Row time from: RFC 3339, a date, Unix seconds, now, or before now, written --from=-1h.").StringVar(&c.from)
	cmd.Flag("to", "Row time before: as --from.").StringVar(&c.to)
	cmd.Flag("attach", "Print a script that attaches the sealed days of the range in the sqlite3 CLI, and run nothing.").BoolVar(&c.attach)
	cmd.Flag("format", "Form of the output: table, csv, json or ndjson; table on a terminal, else ndjson, if not given.").EnumVar(&c.format, "table", "csv", "json", "ndjson")
	cmd.Arg("query", "One statement that reads, over the view invocations.").StringVar(&c.query)
}

// sqlTries bounds how often the files are opened again because the daemon
// sealed or deleted one of them meanwhile.
const sqlTries = 20

func (c *sqlCommand) run() error {
	p := params.Reader{Values: params.Values{"from": nonEmpty(c.from), "to": nonEmpty(c.to)}, Now: time.Now()}
	from, to := p.FromTime(), p.Moment("to")
	if c.to != "" && to == 0 {
		p.Fail("to", "before 1970")
	} else if to != 0 && from > to {
		p.Fail("from", "after to")
	}
	if err := p.Err(); err != nil {
		return &tsdb.OptionsError{Err: err}
	}
	if c.query == "" && !c.attach || c.query != "" && c.attach {
		return &tsdb.OptionsError{Err: errors.New("sql takes a query, or --attach")}
	}
	if c.format == "" {
		c.format = "ndjson"
		if terminal(os.Stdout) {
			c.format = "table"
		}
	}
	var err error
	for range sqlTries {
		err = inspect(c.dir, func(ctx context.Context, db *tsdb.DB) error {
			if c.attach {
				return c.script(ctx, db, from, to)
			}
			return c.answer(ctx, db, from, to)
		})
		if !errors.Is(err, tsdb.ErrFilesChanged) {
			break
		}
	}
	var many *blocks.TooManyFilesError
	switch {
	case errors.As(err, &many):
		return &tsdb.OptionsError{Err: many}
	case errors.Is(err, context.Canceled):
		return errors.New("sql: interrupted")
	}
	return err
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// script prints what --attach promises.
func (c *sqlCommand) script(ctx context.Context, db *tsdb.DB, from, to int64) error {
	text, err := db.AttachText(ctx, from, to)
	if err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	if text == "" {
		text = "-- no day in this range is sealed: daybook ls shows the days\n"
	}
	_, err = fmt.Print(text)
	return err
}

func (c *sqlCommand) answer(ctx context.Context, db *tsdb.DB, from, to int64) error {
	s, err := db.OpenSQL(ctx, from, to)
	if err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	defer s.Close() // only read from
	rows, err := s.Query(ctx, c.query)
	if err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	found, err := c.print(w, rows)
	err = errors.Join(err, rows.Close(), w.Flush())
	if err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	var notes coverageNotes
	cover := s.Coverage()
	notes.add(&cover)
	notes.print(os.Stderr, found, true)
	return nil
}

// print prints the rows and counts them.
func (c *sqlCommand) print(w *bufio.Writer, rows *blocks.SQLRows) (found int, err error) {
	var p sqlPrinter
	for {
		vals, err := rows.Next()
		if err != nil {
			return found, err
		}
		if p == nil {
			p = newSQLPrinter(c.format, w, rows.Columns(), vals)
		}
		if vals == nil {
			p.end()
			return found, nil
		}
		p.row(vals)
		found++
		if _, err := w.Write(nil); err != nil { // the error that w keeps
			return found, err
		}
	}
}
