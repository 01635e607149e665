package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/alecthomas/kingpin/v2"

	"daybook/blocks"
	"daybook/tsdb"
)

type analyzeCommand struct {
	dir    string
	json   bool
	target string
}

func (c *analyzeCommand) register(cmd *kingpin.CmdClause) {
	storagePathFlag(cmd, &c.dir)
	cmd.Flag("json", "Print JSON, with every name that was counted apart.").BoolVar(&c.json)
	cmd.Arg("day|file", "A day (2026-11-23) or a day file.").Required().StringVar(&c.target)
}

func (c *analyzeCommand) run() error {
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) && !exists(c.target) {
		return fmt.Errorf("there is no data directory %s (--storage.path says where it is)", c.dir)
	}
	return interruptible(func(ctx context.Context) error {
		a, err := tsdb.Analyze(ctx, c.dir, c.target)
		if err != nil {
			return fmt.Errorf("analyze: %w", err)
		}
		w := bufio.NewWriter(os.Stdout)
		if c.json {
			err = printAnalysisJSON(w, a)
		} else {
			printAnalysis(w, a)
		}
		return errors.Join(err, w.Flush())
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// analysisNames is how many names of a kind the table shows.
const analysisNames = 10

// analysisNote is what the numbers are.
const analysisNote = "bytes of rows and parts are estimated from the sizes of values, SQLite counts no pages here; " +
	"details are what args, kwargs, result, exception message and traceback take, as text and compressed; " +
	"rows that an overlay hides are counted; what is not cut yet is in the log and is not"

func printAnalysis(w *bufio.Writer, a *blocks.Analysis) {
	files := newColumns(w, "FILE", "KIND", ">ROWS", ">BYTES", ">WAL")
	for i := range a.Files {
		f := &a.Files[i]
		files.row(f.Path, f.Kind, number(f.Rows), number(f.Bytes), number(f.WALBytes))
	}
	files.flush()
	for i := range a.Files {
		f := &a.Files[i]
		w.WriteByte('\n')
		parts := newColumns(w, "WHAT FILLS IT", ">ENTRIES", ">BYTES", ">SHARE")
		total := partsBytes(f)
		for _, p := range f.Parts {
			parts.row(p.Name, number(p.Entries), number(p.Bytes), share(p.Bytes, total))
		}
		parts.flush()
	}
	for i, title := range []string{"TASK", "WORKER", "QUEUE", "EXCEPTION"} {
		w.WriteByte('\n')
		printUses(w, title, a.By[i], a.All.Stored())
	}
	w.WriteByte('\n')
	fields := newColumns(w, "FIELD", ">BYTES", ">SHARE")
	for i, name := range blocks.DetailFields {
		fields.row(name, number(a.Fields[i]), share(a.Fields[i], a.All.DetailBytes))
	}
	fields.flush()
	w.WriteByte('\n')
	rows := newColumns(w, "LARGEST", "STATE", "TASK", ">BYTES", "MOSTLY", "TASK_ID")
	for i := range a.Largest {
		r := &a.Largest[i]
		rows.row(clock(r.At), r.State.String(), r.TaskName, number(r.RowBytes+r.DetailBytes), mostly(r), r.TaskID)
	}
	rows.flush()
	fmt.Fprintf(w, "\n%s\n", analysisNote)
}

// printUses prints the largest names, and the others in one line.
func printUses(w *bufio.Writer, title string, list []blocks.Use, total int64) {
	out := newColumns(w, title, ">ROWS", ">ROW BYTES", ">DETAILS", ">COMPRESSED", ">SHARE")
	line := func(name string, u *blocks.Use) {
		out.row(name, number(u.Rows), number(u.RowBytes), number(u.DetailBytes), number(u.DetailStored), share(u.Stored(), total))
	}
	var rest blocks.Use
	for i := range list {
		u := &list[i]
		if i >= analysisNames {
			rest.Rows += u.Rows
			rest.RowBytes += u.RowBytes
			rest.DetailBytes += u.DetailBytes
			rest.DetailStored += u.DetailStored
			continue
		}
		name := u.Name
		if name == "" {
			name = "(none)"
		}
		line(name, u)
	}
	if n := len(list) - analysisNames; n > 0 {
		line(fmt.Sprintf("(%d more)", n), &rest)
	}
	out.flush()
}

// mostly is the longest field of a row.
func mostly(r *blocks.LargeRow) string {
	name, most := "row", r.RowBytes
	for i, n := range r.Fields {
		if n > most {
			name, most = blocks.DetailFields[i], n
		}
	}
	return name
}

func partsBytes(f *blocks.FileUse) (n int64) {
	for _, p := range f.Parts {
		n += p.Bytes
	}
	return n
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func share(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 1, 64) + "%"
}
