package daemon

import (
	"errors"
	"fmt"
	"net"
	"time"

	"daybook/cmd/internal/api"
	"daybook/cmd/internal/redact"
	"daybook/tsdb"
)

// Setting is a name and a value, for the status pages.
type Setting = api.Setting

// Config is everything that Run needs to know.
type Config struct {
	Storage  tsdb.Options // Logger is set by Run
	ReadOnly bool         // serve without lock, ingest or retention
	Brokers  []string     // URLs of the brokers to take Celery's events from
	Web      WebConfig
	Query    QueryConfig
	Redact   RedactConfig
	Log      LogConfig
	Flags    []Setting // shown by /api/v1/status/flags
	Build    []Setting // shown by /api/v1/status/buildinfo, and logged
}

// WebConfig is about HTTP.
type WebConfig struct {
	ListenAddress string // port 0 picks one
	ConfigFile    string // TLS and basic auth, in exporter-toolkit's format; "" is neither
	EnableAdmin   bool
	MaxBody       int64 // bytes, also once decompressed
	TaskMetrics   int   // task names that are labels of metrics; 0 is off
}

// maxTaskNames keeps --web.task-metrics to what Prometheus digests.
const maxTaskNames = 10_000

// QueryConfig limits requests that read.
type QueryConfig struct {
	Timeout       time.Duration
	MaxConcurrent int
}

// DefaultRedactKeys are for RedactConfig.Keys.
const DefaultRedactKeys = redact.DefaultKeys

// RedactConfig says what is masked in what comes in.
type RedactConfig struct {
	Keys        string   // names whose values are masked, separated by commas
	Expressions []string // regular expressions of what is masked
}

// LogConfig is about what goes to stderr.
type LogConfig struct {
	Level  string // debug, info, warn or error
	Format string // logfmt or json
}

// validate reports everything that is wrong at once, as a *tsdb.OptionsError.
// Storage is validated by tsdb.
func (c *Config) validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, port, err := net.SplitHostPort(c.Web.ListenAddress)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	bad(err != nil, "--web.listen-address is %q, want host:port, such as 127.0.0.1:8365 or :0", c.Web.ListenAddress)
	bad(c.ReadOnly && len(c.Brokers) > 0, "--celery.broker and --storage.read-only exclude each other")
	bad(c.Web.MaxBody < 1, "--web.max-body is %d, must be at least 1", c.Web.MaxBody)
	bad(c.Web.TaskMetrics < 0 || c.Web.TaskMetrics > maxTaskNames, "--web.task-metrics is %d, must be from 0 (off) to %d", c.Web.TaskMetrics, maxTaskNames)
	bad(c.Query.Timeout <= 0, "--query.timeout is %s, must be more than 0", c.Query.Timeout)
	bad(c.Query.MaxConcurrent < 1, "--query.max-concurrent is %d, must be at least 1", c.Query.MaxConcurrent)
	if c.ReadOnly { // else Open does: options that mean nothing here are not to be wrong all the same
		errs = append(errs, c.Storage.Validate())
	}
	if err := errors.Join(errs...); err != nil {
		return &tsdb.OptionsError{Err: err}
	}
	return nil
}
