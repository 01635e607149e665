package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/alecthomas/kingpin/v2"

	"daybook/tsdb"
	"daybook/tsdb/task"
)

type dumpCommand struct {
	dir       string
	format    string
	tasks     []string
	states    []string
	limit     uint32
	noDetails bool
	blocks    []string
}

func (c *dumpCommand) register(cmd *kingpin.CmdClause) {
	storagePathFlag(cmd, &c.dir)
	cmd.Flag("format", "Form of the output: ndjson (which POST /api/v1/invocations takes back), csv or table.").
		Default("ndjson").EnumVar(&c.format, "ndjson", "csv", "table")
	cmd.Flag("task", "Only tasks of this name; a trailing * stands for any end. Repeatable.").StringsVar(&c.tasks)
	cmd.Flag("state", "Only invocations in this state. Repeatable.").StringsVar(&c.states)
	countFlag(cmd.Flag("limit", "Number of invocations to stop after; 0 is all of them."), &c.limit, "0")
	cmd.Flag("no-details", "Leave args, kwargs, result, exception_message and traceback out.").BoolVar(&c.noDetails)
	cmd.Arg("day|file", "Days (2026-11-23) or day files.").Required().StringsVar(&c.blocks)
}

// errEnough ends a dump that has printed all it should.
var errEnough = errors.New("the limit is reached")

// printer prints invocations one by one in some form.
type printer interface {
	print(v *task.Invocation)
	end()
}

func (c *dumpCommand) run() error {
	q := tsdb.Query{Oldest: true, Limit: int(c.limit), Details: !c.noDetails}
	q.TaskNames = c.tasks
	for _, name := range c.states {
		s, err := task.ParseState(name)
		if err != nil {
			return &tsdb.OptionsError{Err: fmt.Errorf("--state: %w", err)}
		}
		q.States = append(q.States, s)
	}
	if onlyFiles(c.blocks) {
		return interruptible(func(ctx context.Context) error {
			return c.dump(func(fn func(*task.Invocation) error) error { return tsdb.DumpFiles(ctx, inOrder(c.blocks), q, fn) })
		})
	}
	return inspect(c.dir, func(ctx context.Context, db *tsdb.DB) error {
		return c.dump(func(fn func(*task.Invocation) error) error { return db.Dump(ctx, inOrder(c.blocks), q, fn) })
	})
}

// dump prints what dump hands over.
func (c *dumpCommand) dump(dump func(fn func(*task.Invocation) error) error) error {
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	p := newPrinter(c.format, w)
	printed := uint32(0)
	err := dump(func(v *task.Invocation) error {
		if c.limit > 0 && printed == c.limit {
			return errEnough
		}
		printed++
		p.print(v)
		_, err := w.Write(nil) // the error that w keeps
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return errors.Join(w.Flush(), fmt.Errorf("dump: %w", err))
	}
	p.end()
	return w.Flush()
}

// inOrder puts days in ascending order, each once, and files behind them.
func inOrder(blocks []string) []string {
	var days, files []string
	for _, b := range blocks {
		if _, err := task.ParseDay(b); err == nil {
			days = append(days, b)
		} else if !slices.Contains(files, b) {
			files = append(files, b)
		}
	}
	slices.Sort(days)
	return append(slices.Compact(days), files...)
}

func newPrinter(format string, w *bufio.Writer) printer {
	switch format {
	case "csv":
		return newCSVPrinter(w)
	case "table":
		return newTablePrinter(w)
	}
	return &jsonPrinter{w: w}
}

type jsonPrinter struct {
	w   *bufio.Writer
	buf []byte
}

func (p *jsonPrinter) print(v *task.Invocation) {
	p.buf = append(task.AppendJSON(p.buf[:0], v), '\n')
	p.w.Write(p.buf) // w keeps the error
}

func (p *jsonPrinter) end() {}
