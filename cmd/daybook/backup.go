package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"daybook/tsdb"
)

type backupCommand struct {
	dir   string
	dest  string
	prune bool
}

func (c *backupCommand) register(cmd *kingpin.CmdClause) {
	storagePathFlag(cmd, &c.dir)
	cmd.Flag("prune", "Remove from the backup the days that the data directory has no longer.").BoolVar(&c.prune)
	cmd.Arg("dest", "The backup: a directory that is created, is empty, or was made by this command before.").Required().StringVar(&c.dest)
}

func (c *backupCommand) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := newProgress(os.Stderr)
	res, err := tsdb.Backup(ctx, tsdb.BackupOptions{Dir: c.dir, Dest: c.dest, Prune: c.prune, Progress: p.bytes})
	p.clear()
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	fmt.Printf("%s: %d days linked, %d copied, %d unchanged; %d live files; %d bytes written\n",
		c.dest, res.Linked, res.Copied, res.Unchanged, res.Live, res.Bytes)
	if len(res.Kept) > 0 {
		fmt.Printf("kept, and no longer in %s (--prune removes them): %s\n", c.dir, strings.Join(res.Kept, " "))
	}
	if len(res.Pruned) > 0 {
		fmt.Printf("pruned: %s\n", strings.Join(res.Pruned, " "))
	}
	if res.SetAside != "" {
		fmt.Printf("what the backup had and the data directory has not is in its %s\n", res.SetAside)
	}
	for _, problem := range res.Problems {
		fmt.Fprintf(os.Stderr, "daybook: %s\n", printable(problem.Error()))
	}
	if len(res.Problems) > 0 {
		return errFindings
	}
	return nil
}

// bytes shows how far a copy has come.
func (p *progress) bytes(done, total int64) {
	now := time.Now()
	if p.to == nil || now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(200*time.Millisecond), true
	const width = 30
	filled := int(width * done / max(total, 1))
	fmt.Fprintf(p.to, "\r\x1b[K[%-*s] %d of %d MiB", width, strings.Repeat("#", min(filled, width)), done>>20, total>>20)
}
