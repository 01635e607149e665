package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/oklog/run"

	"daybook/blocks"
	"daybook/cmd/internal/api"
	"daybook/cmd/internal/redact"
	"daybook/cmd/internal/units"
	"daybook/tsdb"
)

// Run serves until a signal arrives or something essential fails. It logs to
// stderr.
func Run(ctx context.Context, c Config, stderr io.Writer) error {
	// ---- options
	if err := c.validate(); err != nil {
		return err
	}
	logger := NewLogger(stderr, c.Log)
	secrets, secretsErr := redact.New(c.Redact.Keys, c.Redact.Expressions)
	file, fileErr := openWebFile(c.Web.ConfigFile, log.With(logger, "component", "web"))
	_, brokersErr := newConsumers(c.Brokers, c.Storage.MaxFuture, nil, nil, log.NewNopLogger()) // which start nothing
	if err := errors.Join(flagError("--ingest.redact, --ingest.redact-keys", secretsErr), flagError("--web.config.file", fileErr), flagError("--celery.broker", brokersErr)); err != nil {
		return &tsdb.OptionsError{Err: err}
	}
	signals := takeSignals(logger)
	defer signals.release()
	level.Info(logger).Log(append([]any{"msg", "starting daybook"}, keyvals(c.Build)...)...)

	// ---- the database
	// Before the first file is opened: it changes the environment.
	if err := blocks.UseTempDir(filepath.Join(c.Storage.Dir, "tmp")); err != nil {
		return err
	}
	c.Storage.Logger, c.Storage.Cores = logger, processors()
	metrics := newRegistry(c.Build)
	c.Storage.Metrics = metrics
	open := tsdb.Open
	if c.ReadOnly {
		open = tsdb.OpenReadOnly
	}
	db, err := open(c.Storage)
	if err != nil {
		return fmt.Errorf("open %s: %w", c.Storage.Dir, err)
	}
	c.Flags = slices.Clone(c.Flags)
	for i, f := range c.Flags {
		if f.Name == "wal.max-bytes" && f.Value == "" && !c.ReadOnly { // worked out from the disk
			c.Flags[i].Value = units.FormatSize(db.LogMaxBytes())
		}
	}
	memory := newMemory(logger, c.Storage.HeadMaxBytes, db.FilterBytes)

	// ---- brokers
	consumers, err := newConsumers(c.Brokers, c.Storage.MaxFuture, db, secrets, logger)
	if err != nil {
		return errors.Join(&tsdb.OptionsError{Err: fmt.Errorf("--celery.broker: %w", err)}, db.Close())
	}

	if len(consumers) > 0 {
		metrics.MustRegister(brokerMetrics(consumers))
	}
	tasks := &taskMetrics{most: c.Web.TaskMetrics, tasks: db.Tasks, now: time.Now}
	if tasks.most > 0 {
		metrics.MustRegister(tasks)
	}

	// ---- HTTP
	// A request that this ends is told from one whose client went away.
	requests, cancelRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelRequests(tsdb.ErrClosed)
	endpoints := c.api(db, logger, consumers)
	endpoints.Access, endpoints.Redact = file.access, secrets.Invocation
	endpoints.Metrics, endpoints.MetricsPage = metrics, metrics.page(logger)
	server, err := listen(log.With(logger, "component", "web"), c.Web.ListenAddress, api.New(endpoints), file, requests)
	if err != nil {
		return errors.Join(err, db.Close())
	}

	// ---- actors, in the order of their interrupts
	var g run.Group
	{
		ctx, cancel := context.WithCancel(ctx)
		g.Add(func() error { return signals.wait(ctx) }, func(error) { cancel() })
	}
	{
		g.Add(func() error {
			<-requests.Done()
			return nil
		}, func(error) {
			db.Leave() // before consumers stop listening: the next start tells the gap from here on
			cancelRequests(tsdb.ErrClosed)
		})
	}
	for _, consumer := range consumers {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		g.Add(func() error { return consumer.Run(ctx) }, func(error) { cancel() })
	}
	if tasks.most > 0 {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		g.Add(func() error { return tasks.run(ctx) }, func(error) { cancel() })
	}
	if memory != nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		g.Add(func() error { return memory.run(ctx) }, func(error) { cancel() })
	}
	g.Add(server.run, server.interrupt)
	{
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		g.Add(func() error { return storage(ctx, db) }, func(error) { cancel() })
	}
	err = g.Run()

	// ---- the end
	if errors.Is(err, run.ErrSignal) || errors.Is(err, context.Canceled) {
		level.Info(logger).Log("msg", "stopping", "reason", err)
		err = nil
	}
	from := time.Now()
	if closeErr := db.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close the database: %w", closeErr))
	}
	level.Info(logger).Log("msg", "stopped", "took", time.Since(from))
	return err
}

// storage runs the database's loops, which end only by their context: if they
// end by themselves, something essential failed.
func storage(ctx context.Context, db *tsdb.DB) error {
	err := db.Run(ctx)
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		return nil
	case err == nil:
		<-ctx.Done() // nothing to do in the background
		return nil
	}
	return fmt.Errorf("run the database: %w", err)
}

// flagError names the flags that an error is about.
func flagError(flags string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", flags, err)
}

func (c *Config) api(db *tsdb.DB, logger log.Logger, consumers []consumer) api.Config {
	return api.Config{
		Brokers:            brokerStates(consumers),
		Store:              db,
		Logger:             log.With(logger, "component", "api"),
		Now:                c.Storage.Now,
		NewEventParser:     newEventParser,
		ReadOnly:           c.ReadOnly,
		EnableAdmin:        c.Web.EnableAdmin,
		WholeRequests:      c.Storage.OnOverflow == tsdb.OverflowReject,
		Storing:            c.Storage.HeadMaxBytes / 8,
		SmallRequest:       c.Storage.HeadMaxBytes / 8,
		MaxBody:            c.Web.MaxBody,
		QueryTimeout:       c.Query.Timeout,
		QueryMaxConcurrent: c.Query.MaxConcurrent,
		Flags:              c.Flags,
		Build:              c.Build,
	}
}

func keyvals(list []Setting) []any {
	var out []any
	for _, s := range list {
		out = append(out, s.Name, s.Value)
	}
	return out
}
