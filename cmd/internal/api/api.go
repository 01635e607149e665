package api

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"daybook/tsdb"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// Store is what the handlers need of a *tsdb.DB.
type Store interface {
	Append(ctx context.Context, recs []tsdb.Record) (tsdb.Appended, error)
	Reserve(bytes int64, patience time.Duration) (release func(), err error)
	Courtesy() *tsdb.Courtesy
	Refuse() error // notes a request that waited in vain, and says so
	Get(ctx context.Context, id string) (task.Invocation, error)
	Select(ctx context.Context, q tsdb.Query) (tsdb.Page, error)
	Workflow(ctx context.Context, rootID string, limit int) (tsdb.Workflow, error)
	Tasks(ctx context.Context, from, to int64, name string) ([]tsdb.TaskSummary, tsdb.Coverage, error)
	Series(ctx context.Context, name string, from, to int64, step rollup.Width) ([]rollup.Point, tsdb.Coverage, error)
	Count(ctx context.Context, q tsdb.CountQuery) (tsdb.Count, error)
	Blocks(ctx context.Context) ([]tsdb.BlockInfo, error)
	Cut(ctx context.Context, seal bool) (tsdb.CutResult, error)
	Snapshot(ctx context.Context) (tsdb.Snapshot, error)
	Health() tsdb.Health
	Ready() tsdb.Progress
}

// EventParser reads one event as Celery sent it. ignored events are well-formed
// and of no use here. The result does not refer to raw.
type EventParser func(raw []byte) (ev task.Event, ignored bool, err error)

// Setting is a name and a value, for the status pages.
type Setting struct{ Name, Value string }

// Config is what New needs. All fields are required but the ones marked so.
type Config struct {
	Store  Store
	Logger log.Logger       // nil discards
	Now    func() time.Time // nil is time.Now
	// NewEventParser returns a parser for the goroutine that asks for it.
	NewEventParser func() EventParser

	// Brokers tells the state of the consumers; nil if there are none.
	Brokers func() []Broker

	// Access tells who may come in, for each request anew; nil lets everybody.
	Access func() Access
	// Redact masks secrets in what comes in, before it is stored; nil does not.
	Redact func(*task.Invocation)

	Metrics     prometheus.Registerer // nil registers nowhere
	MetricsPage http.Handler          // serves /metrics; nil: 404

	ReadOnly    bool // requests that write are refused
	EnableAdmin bool // off: the admin endpoints are 404
	// WholeRequests says that the store takes a request whole or not at all
	// (--head.on-overflow=reject). Otherwise a body that is larger than the
	// memory to be had is stored in parts.
	WholeRequests bool
	// Storing is the memory in bytes of the requests that are being stored at
	// once; further ones wait.
	Storing int64
	// SmallRequest is the memory in bytes below which a request is stored
	// whole or refused whole in any case.
	SmallRequest int64

	MaxBody            int64         // bytes, also once decompressed
	Stall              time.Duration // a client may take this long for a piece of a body or an answer; 0 is DefaultStall
	QueryTimeout       time.Duration // of one request that reads
	QueryMaxConcurrent int           // requests that read, at once

	Flags []Setting // shown by /api/v1/status/flags
	Build []Setting // shown by /api/v1/status/buildinfo
}

// Broker is the state of the consumer of one broker.
type Broker struct {
	URL         string // without password
	Connected   bool
	LastEventAt int64    // newest timestamp of any event, microseconds; 0 if none
	Reasons     []string // what is wrong
	Groups      []WorkerGroup
}

// WorkerGroup is the workers of one group that a broker has told of.
type WorkerGroup struct {
	Name        string
	Workers     int
	LastEventAt int64 // microseconds
	Lost        int64 // events that they lost before sending, as far as it shows
}

// DefaultStall is how long a client may take to send or accept one piece.
const DefaultStall = 30 * time.Second

// API serves the endpoints. It starts nothing.
type API struct {
	Config
	routes     map[string]route
	queries    chan struct{} // holds a token for every query that is running
	scrapes    chan struct{} // one for every scrape
	large      chan struct{} // one for every large answer that is being sent
	rejected   atomic.Int64  // lines refused before they reached the store
	storing    *semaphore.Weighted
	storingMax int64
	metrics    *metrics
	logins     *logins
}

var _ http.Handler = (*API)(nil)

// New returns the handler of all endpoints.
func New(c Config) *API {
	if c.Logger == nil {
		c.Logger = log.NewNopLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Stall == 0 {
		c.Stall = DefaultStall
	}
	if c.Redact == nil {
		c.Redact = func(*task.Invocation) {}
	}
	n := max(c.QueryMaxConcurrent, 1)
	a := &API{Config: c, queries: make(chan struct{}, n), scrapes: make(chan struct{}, maxScrapes), large: make(chan struct{}, largePerQuery*n), logins: newLogins()}
	a.storingMax = max(c.Storing, minStoring)
	a.storing = semaphore.NewWeighted(a.storingMax)
	a.metrics = a.newMetrics()
	a.routes = a.table()
	return a
}
