package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/daemon"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

func storagePathFlag(cmd *kingpin.CmdClause, to *string) {
	cmd.Flag("storage.path", "The data directory.").Default("./data").StringVar(to)
}

// inspect opens a data directory for reading, beside a daemon or without one,
// and runs fn on it until a signal comes.
func inspect(dir string, fn func(ctx context.Context, db *tsdb.DB) error) error {
	o := tsdb.DefaultOptions()
	o.Dir = dir
	return inspectWith(o, fn)
}

// onlyFiles reports whether targets are files, for which no data directory is
// needed.
func onlyFiles(targets []string) bool {
	return len(targets) > 0 && !slices.ContainsFunc(targets, func(target string) bool {
		_, err := task.ParseDay(target)
		return err == nil || !exists(target)
	})
}

// interruptible runs fn until a signal comes.
func interruptible(fn func(ctx context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A closed pipe is an error to stop at, not a signal to die from: there
	// may be something to put in order.
	signal.Ignore(syscall.SIGPIPE)
	return fn(ctx)
}

// inspectWith is inspect with options of one's own.
func inspectWith(o tsdb.Options, fn func(ctx context.Context, db *tsdb.DB) error) error {
	dir := o.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no data directory %s (--storage.path says where it is)", dir)
	}
	return interruptible(func(ctx context.Context) (err error) {
		o.Logger = daemon.NewLogger(os.Stderr, daemon.LogConfig{Level: "warn"})
		db, err := tsdb.OpenReadOnly(o)
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		defer func() {
			if closeErr := db.Close(); err == nil && closeErr != nil {
				err = fmt.Errorf("close %s: %w", dir, closeErr)
			}
		}()
		return fn(ctx, db)
	})
}
