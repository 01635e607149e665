package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"daybook/tsdb"
)

type importCommand struct {
	dir   string // all tools take it; this one has no use for it
	url   string
	trust trustFlags
	files []string
}

func (c *importCommand) register(cmd *kingpin.CmdClause) {
	cmd.Flag("url", "Where the daemon is.").Default("http://127.0.0.1:8365").StringVar(&c.url)
	c.trust.register(cmd)
	cmd.Flag("storage.path", "As of all tools; not used, as the daemon at --url knows its directory.").Default("./data").StringVar(&c.dir)
	cmd.Arg("file", "NDJSON files, plain or compressed with gzip or zstd; - is the standard input.").Required().StringsVar(&c.files)
}

func (c *importCommand) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := newImportClient(c.url, c.trust)
	if err != nil {
		return &tsdb.OptionsError{Err: err}
	}
	im := importer{client: client, errors: os.Stderr, progress: newProgress(os.Stderr)}
	err = im.files(ctx, c.files)
	im.progress.clear()
	// What was taken in is worth knowing also when the rest failed.
	if sumErr := json.NewEncoder(os.Stdout).Encode(im.sum); sumErr != nil {
		return errors.Join(err, fmt.Errorf("print the summary: %w", sumErr))
	}
	switch {
	case err != nil:
		return err
	case im.sum.Rejected > 0:
		return errFindings
	case im.sum.Dropped > 0:
		return fmt.Errorf("the daemon dropped %d lines: its head is full, and cutting does not keep up", im.sum.Dropped)
	}
	return nil
}

// sum is what became of all lines.
type sum struct {
	Accepted int `json:"accepted"`
	Ignored  int `json:"ignored"`
	Rejected int `json:"rejected"`
	Dropped  int `json:"dropped"`
}

// importer sends files in batches and says which lines were refused.
type importer struct {
	client   *importClient
	errors   io.Writer
	progress *progress
	sum      sum
}

func (im *importer) files(ctx context.Context, names []string) error {
	for _, name := range names {
		if name == "" { // what kingpin makes of -
			name = "-"
		}
		if err := im.file(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (im *importer) file(ctx context.Context, name string) error {
	var f io.ReadCloser = os.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err // names the file
		}
		defer file.Close() // only read from
		f = file
	}
	r, closer, err := decompress(f)
	if err != nil {
		return err
	}
	defer closer()
	lines := newLineReader(r)
	for {
		b, err := lines.batch()
		if err != nil {
			return err
		}
		for _, n := range b.tooLong {
			im.sum.Rejected++
			im.refused(name, n, fmt.Sprintf("longer than %d bytes", maxImportLine))
		}
		if len(b.lines) > 0 {
			if err := im.send(ctx, name, b.lines); err != nil {
				return err
			}
		}
		im.progress.show(im.sum, name, lines.n)
		if b.last {
			return nil
		}
	}
}

// send posts lines, in halves if the daemon takes no body as large.
func (im *importer) send(ctx context.Context, name string, lines []line) error {
	a, err := im.client.post(ctx, lines)
	var tooLarge *tooLargeError
	switch {
	case errors.As(err, &tooLarge) && len(lines) == 1:
		im.sum.Rejected++
		im.refused(name, lines[0].n, tooLarge.Error())
		return nil
	case errors.As(err, &tooLarge):
		half := len(lines) / 2
		if err := im.send(ctx, name, lines[:half]); err != nil {
			return err
		}
		return im.send(ctx, name, lines[half:])
	case err != nil:
		return fmt.Errorf("lines %d to %d: %w", lines[0].n, lines[len(lines)-1].n, err)
	}
	im.sum.Accepted += a.Accepted
	im.sum.Ignored += a.Ignored
	im.sum.Rejected += a.Rejected
	im.sum.Dropped += a.Dropped
	return im.listRefused(ctx, name, lines, a)
}

// listRefused prints the refused lines. An answer lists a hundred of them, so
// what follows the last one is sent once more: that changes nothing.
func (im *importer) listRefused(ctx context.Context, name string, lines []line, a importAnswer) error {
	for {
		last := 0
		for _, e := range a.Errors {
			if e.Line < 1 || e.Line > len(lines) {
				return fmt.Errorf("the daemon's answer names line %d of %d", e.Line, len(lines))
			}
			im.refused(name, lines[e.Line-1].n, e.Error)
			last = e.Line
		}
		if a.Rejected <= len(a.Errors) || last == 0 || last == len(lines) {
			return nil
		}
		lines = lines[last:]
		var err error
		if a, err = im.client.post(ctx, lines); err != nil {
			return fmt.Errorf("lines %d to %d again: %w", lines[0].n, lines[len(lines)-1].n, err)
		}
	}
}

func (im *importer) refused(name string, n int, why string) {
	im.progress.clear()
	fmt.Fprintf(im.errors, "%s:%d: %s\n", name, n, printable(why))
}
