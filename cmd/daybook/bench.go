package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/bench"
	"daybook/tsdb"
)

type benchCommand struct {
	options bench.Options
	trust   trustFlags
	json    bool
}

func (c *benchCommand) register(cmd *kingpin.CmdClause) {
	o := &c.options
	cmd.Flag("storage.path", "A temporary directory is made beside this one, on its file system, and removed in the end; the data in it is not touched.").
		Default("./data").StringVar(&o.Dir)
	cmd.Flag("rows", "Rows of the day that is cut into, sealed, queried and deleted; 3000000 is the size that the targets are meant for.").Default("300000").IntVar(&o.Rows)
	cmd.Flag("days", "Days that the rows are spread over for queries; 30 are what the targets are meant for.").Default("10").IntVar(&o.Days)
	cmd.Flag("invocations", "Invocations that ingest sends as fast as they are taken, however long that takes; 0: for as long as --length says.").Default("0").IntVar(&o.Invocations)
	durationFlag(cmd.Flag("length", "How long each measurement of ingest takes."), &o.Length, "5s")
	cmd.Flag("batch", "Lines of a request.").Default("500").IntVar(&o.Batch)
	cmd.Flag("clients", "Clients that send at once.").Default("4").IntVar(&o.Clients)
	cmd.Flag("singles", "Clients of the requests of one line.").Default("64").IntVar(&o.Singles)
	cmd.Flag("rate", "Lines a second that ingest sends, and that seal and retention send half of; 0 is as many as are taken, then half of that, then single ones.").Default("0").Float64Var(&o.Rate)
	cmd.Flag("wal.sync", "As of the daemon: always, interval or never.").Default("always").EnumVar(&o.WALSync, "always", "interval", "never")
	cmd.Flag("seed", "Of the generated load.").Default("1").Uint64Var(&o.Seed)
	cmd.Flag("url", "A running daemon for the benchmark ingest, which leaves its invocations there; without it each benchmark starts a daemon of its own. Not from DAYBOOK_URL, as a daemon that is in use is rarely meant.").
		Envar("DAYBOOK_BENCH_URL").StringVar(&o.URL)
	c.trust.register(cmd)
	cmd.Flag("profile", "A directory to write CPU profiles of the daemons to while they take invocations in.").ExistingDirVar(&o.Profile)
	cmd.Flag("json", "Print JSON.").BoolVar(&c.json)
	cmd.Arg("benchmark", "What to measure: "+strings.Join(bench.Names, ", ")+". Without any: all, in about five minutes.").EnumsVar(&o.Benchmarks, bench.Names...)
}

func (c *benchCommand) run() error {
	if c.options.URL != "" {
		if _, err := parseDaemonURL(c.options.URL); err != nil {
			return &tsdb.OptionsError{Err: err}
		}
	}
	var err error
	if c.options.TLS, err = c.trust.config(); err != nil {
		return &tsdb.OptionsError{Err: err}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if c.options.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	c.options.Version = version + " " + commit
	line := newProgress(os.Stderr)
	c.options.Progress = line.text
	report, err := bench.Run(ctx, c.options)
	line.clear()
	var option *bench.OptionsError
	switch {
	case errors.As(err, &option):
		return &tsdb.OptionsError{Err: option.Err}
	case err != nil && ctx.Err() != nil:
		err = errors.New("interrupted")
	}
	if err != nil && len(report.Figures) == 0 {
		return err
	}
	// What was measured is worth knowing also when the rest failed.
	w := bufio.NewWriter(os.Stdout)
	if c.json {
		err = errors.Join(err, report.JSON(w))
	} else {
		err = errors.Join(err, report.Table(w))
	}
	return errors.Join(err, w.Flush())
}
