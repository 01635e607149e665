package main

import (
	"context"
	"os"
	"strconv"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/daemon"
	"daybook/tsdb"
)

type serveCommand struct {
	cmd    *kingpin.CmdClause
	config daemon.Config
	policy string
}

func (c *serveCommand) register(cmd *kingpin.CmdClause) {
	c.cmd = cmd
	c.config.Storage = tsdb.DefaultOptions()
	c.registerStorage(cmd, &c.config.Storage)
	c.registerHead(cmd, &c.config.Storage)

	web, query, log := &c.config.Web, &c.config.Query, &c.config.Log
	cmd.Flag("web.listen-address", "Address to serve HTTP on; port 0 picks one, and the real address is logged as addr=.").
		Default("127.0.0.1:8365").StringVar(&web.ListenAddress)
	cmd.Flag("web.config.file", "File with TLS and basic auth, in exporter-toolkit's format; /-/healthy and /-/ready stay open. Read again when it changes.").
		StringVar(&web.ConfigFile)
	cmd.Flag("web.enable-admin-api", "Serve the admin endpoints (cut, snapshot) and profiles of the process under /debug/pprof/; without it they are 404.").BoolVar(&web.EnableAdmin)
	sizeFlag(cmd.Flag("web.max-body", "Largest request body in bytes, also once decompressed; larger ones are refused with 413."), &web.MaxBody, "32MiB")
	cmd.Flag("web.task-metrics", "Number of tasks, the busiest of the last hour, whose names are labels in /metrics; 0 is off.").
		Default("0").IntVar(&web.TaskMetrics)
	durationFlag(cmd.Flag("query.timeout", "Longest time that a query may take."), &query.Timeout, "30s")
	cmd.Flag("query.max-concurrent", "Number of queries that may run at once; more are refused with 429.").Default("8").IntVar(&query.MaxConcurrent)
	cmd.Flag("log.level", "Least severe messages to log to stderr: debug, info, warn or error.").
		Default("info").EnumVar(&log.Level, "debug", "info", "warn", "error")
	cmd.Flag("log.format", "Form of the messages: logfmt or json.").Default("logfmt").EnumVar(&log.Format, "logfmt", "json")
}

func (c *serveCommand) registerStorage(cmd *kingpin.CmdClause, o *tsdb.Options) {
	storagePathFlag(cmd, &o.Dir)
	cmd.Flag("storage.read-only", "Serve a directory (a restored backup, a colleague's day files) without lock, ingest or retention.").
		BoolVar(&c.config.ReadOnly)
	cmd.Flag("storage.legacy", "A pre-partition database to attach read-only until it has aged out; repeatable.").StringsVar(&o.Legacy)
	cmd.Flag("storage.legacy-delete", "Delete such a file when it has aged out, instead of only detaching it; refused if that would be at once.").BoolVar(&o.LegacyDelete)
	cmd.Flag("storage.legacy-optional", "Start without a legacy file that cannot be attached safely, instead of refusing to.").BoolVar(&o.LegacyOptional)
	cmd.Flag("wal.sync", "When the log is fsynced: always (before an answer, commits grouped), interval or never.").
		Default("always").EnumVar(&o.WALSync, "always", "interval", "never")
	durationFlag(cmd.Flag("wal.sync-interval", "Time between fsyncs with --wal.sync=interval."), &o.WALSyncInterval, "1s")
	cmd.Flag("wal.max-bytes", "Size of the log in bytes at which the head is cut at once. Default: 1GiB, or an eighth of the file system or of --retention.size if that is less.").
		PlaceHolder("1GiB").SetValue((*sizeValue)(&o.WALMaxBytes))
	durationFlag(cmd.Flag("seal.delay", "How long after UTC midnight a day is sealed."), &o.SealDelay, "1h")
	durationFlag(cmd.Flag("ingest.max-future", "Events further ahead than this are refused."), &o.MaxFuture, "1h")
	durationFlag(cmd.Flag("ingest.max-past", "Events older than this are refused, also when retention by age is off."), &o.MaxPast, "400d")
	durationFlag(cmd.Flag("retention.time", "Whole days older than this are deleted, at start and every minute; 0 keeps them for ever."), &o.RetentionTime, "15d")
	sizeFlag(cmd.Flag("retention.size", "Size in bytes of everything under the data directory above which the oldest whole days are deleted; 0 is off."), &o.RetentionSize, "0")
	cmd.Flag("retention.disk-usage", "Percent of the file system in use at which the oldest whole day is deleted, if that can bring it below; 0 is off.").
		Default("90").Float64Var(&o.DiskUsage)
	cmd.Flag("ingest.detail-rate", "Above that many invocations of a task in a minute, args, kwargs and result of its successes are left out; 0 is off.").
		Default("0").IntVar(&o.DetailRate)
	cmd.Flag("ingest.redact", "Regular expression of what is masked in args, kwargs, results, exception messages and tracebacks before it is stored; repeatable.").
		StringsVar(&c.config.Redact.Expressions)
	cmd.Flag("ingest.redact-keys", "Names whose values are masked in the same places, separated by commas; a name also stands for longer ones that end in it (db_password, accessToken). Empty masks none.").
		Default(daemon.DefaultRedactKeys).StringVar(&c.config.Redact.Keys)
	cmd.Flag("celery.broker", "URL of a broker to take Celery's events from: redis://, rediss://, redis+socket://, amqp:// or amqps://; repeatable. "+
		"Options: ?global_keyprefix=&fanout_prefix=&exchange=&queue=. See docs/celery.md.").StringsVar(&c.config.Brokers)
}

func (c *serveCommand) registerHead(cmd *kingpin.CmdClause, o *tsdb.Options) {
	cmd.Flag("head.max-records", "Number of invocations that the head may hold in memory.").Default("200000").Int64Var(&o.HeadMaxRecords)
	sizeFlag(cmd.Flag("head.max-bytes", "Memory in bytes that the head may use, request bodies under way included."), &o.HeadMaxBytes, "128MiB")
	sizeFlag(cmd.Flag("head.filter-bytes", "Memory in bytes for the id filters of all days; what does not fit is read from the files."), &o.FilterBytes, "256MiB")
	cmd.Flag("head.on-overflow", "When cutting cannot keep up: drop-oldest, or reject (503 for the whole request).").
		Default(string(tsdb.OverflowDropOldest)).EnumVar(&c.policy, string(tsdb.OverflowDropOldest), string(tsdb.OverflowReject))
	durationFlag(cmd.Flag("head.cut-interval", "Time between cuts of what is finished; also cut when half a cap is reached."), &o.CutInterval, "10s")
	durationFlag(cmd.Flag("head.settle", "How long a finished invocation waits for stragglers before it is cut; less in a head that is more than half full."), &o.Settle, "2s")
	durationFlag(cmd.Flag("head.open-timeout", "How long after its last event an open invocation is given up and cut in its last state."), &o.OpenTimeout, "24h")
}

func (c *serveCommand) run() error {
	c.config.Storage.OnOverflow = tsdb.OverflowPolicy(c.policy)
	c.config.Build = build()
	c.config.Storage.By, c.config.Storage.Version = "daybook "+version, version
	for _, f := range c.cmd.Model().Flags {
		value := f.Value.String()
		switch f.Name {
		case "celery.broker":
			value = daemon.RedactURLs(c.config.Brokers)
		case "wal.max-bytes":
			if c.config.Storage.WALMaxBytes == 0 {
				value = "" // the daemon works it out from the disk
			}
		case "ingest.redact": // may tell what it hides
			value = strconv.Itoa(len(c.config.Redact.Expressions)) + " given"
		}
		c.config.Flags = append(c.config.Flags, daemon.Setting{Name: f.Name, Value: value})
	}
	return daemon.Run(context.Background(), c.config, os.Stderr)
}
