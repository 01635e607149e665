package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"daybook/tsdb"
)

type verifyCommand struct {
	dir     string
	targets []string
}

func (c *verifyCommand) register(cmd *kingpin.CmdClause) {
	storagePathFlag(cmd, &c.dir)
	cmd.Arg("day|file", "Days (2026-11-23) or files; everything if there are none.").StringsVar(&c.targets)
}

func (c *verifyCommand) run() error {
	if !onlyFiles(c.targets) {
		return inspect(c.dir, func(ctx context.Context, db *tsdb.DB) error {
			return printFindings(func(report func(tsdb.Finding)) error { return db.Verify(ctx, c.targets, report) })
		})
	}
	return interruptible(func(ctx context.Context) error {
		return printFindings(func(report func(tsdb.Finding)) error {
			for _, path := range c.targets {
				if err := tsdb.VerifyFile(ctx, path, report); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func printFindings(verify func(report func(tsdb.Finding)) error) error {
	w := bufio.NewWriter(os.Stdout)
	findings := 0
	err := verify(func(f tsdb.Finding) {
		kind := "note"
		if !f.Note {
			kind = "finding"
			findings++
		}
		problem := strings.ReplaceAll(strings.TrimSpace(f.Problem), "\n", "; ") // several errors, or as SQLite words it
		fmt.Fprintf(w, "%s: %s: %s", kind, printable(f.Path), printable(problem))
		if f.Remedy != "" {
			fmt.Fprintf(w, ": %s", printable(f.Remedy))
		}
		fmt.Fprintln(w)
		w.Flush() // a line when it is found; w keeps the error
	})
	switch {
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	case findings > 0:
		return fmt.Errorf("%w: %d", errFindings, findings)
	}
	fmt.Fprintln(w, "no findings")
	return w.Flush()
}
