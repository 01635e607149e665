package tsdb

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"

	"daybook/blocks"
	"daybook/compact"
	"daybook/head"
	"daybook/head/wal"
	"daybook/tsdb/task"
)

// DB is one data directory. Its methods are safe for concurrent use.
type DB struct {
	opts     Options
	logger   log.Logger
	readOnly bool
	lock     *dirLock // nil if read-only

	pool     *blocks.Pool
	catalog  *blocks.Catalog
	compact  *compact.Compactor
	wal      *wal.Log
	head     *head.Head
	thin     thinner
	shedding shedder
	losses   losses
	stalling stalling
	legacy   legacies
	sums     sumCache
	large    chan struct{} // holds one for the sum that is large: see DB.sum
	sealing  chan struct{} // holds one while days are sealed
	// appendGate is passed while ids become known to the head.
	appendGate gate
	courtesy   *Courtesy
	// legacyErrors are the files that could not be attached; set by Open.
	legacyErrors map[string]error
	legacyNoted  []string // that a daemon has attached; set by OpenReadOnly
	metrics      *metrics

	seeCuts func() error // before a replay cuts; set by replay

	ready    atomic.Bool
	closed   atomic.Bool
	done     atomic.Int64 // bytes of the log replayed
	total    atomic.Int64
	trimmed  atomic.Int64 // size of the log after the last checkpoint
	dropped  atomic.Int64
	rejected atomic.Int64
	pressure chan struct{} // asks the cutter to hurry; holds one
	dropping sync.Mutex    // held to make room by force
	replayed bool          // a log that was not empty
	logRead  int64         // size of the log, if it was only read
	wanted   atomic.Int64  // requests that wait for more room than relief
	room     broadcast     // tells that the cutter has made a round
	stuck    atomic.Bool   // nothing could leave the head when it was last relieved

	failures failures
	unread   unread
	mu       sync.Mutex
	warned   time.Time
	early    task.GapSet // told before it was ready; guarded by mu
	running  sync.WaitGroup
	// appending is how many Appends are under way.
	appending atomic.Int64
}

// OptionsError is what Open returns for options that cannot work, before it
// touches anything.
type OptionsError struct{ Err error }

func (e *OptionsError) Error() string { return e.Err.Error() }
func (e *OptionsError) Unwrap() error { return e.Err }

// Open locks a data directory and reads its catalog. It returns ErrLocked if
// another daemon has it, and an *OptionsError for impossible options. Whoever
// opens it runs Run, and Close at the end.
func Open(o Options) (db *DB, err error) {
	if err := o.Validate(); err != nil {
		return nil, &OptionsError{err}
	}
	o.defaults()
	if err := compact.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	if err := compact.RefuseLooseDays(o.Dir); err != nil {
		return nil, err
	}
	if o.WALMaxBytes == 0 {
		o.WALMaxBytes = defaultWALMaxBytes(o.Dir)
		if o.RetentionSize > 0 { // of which the log is a part
			o.WALMaxBytes = min(o.WALMaxBytes, o.RetentionSize/8)
		}
	}
	db = &DB{courtesy: NewCourtesy(o.cores()), opts: o, logger: log.With(o.Logger, "component", "tsdb"), pressure: make(chan struct{}, 1), large: make(chan struct{}, 1), sealing: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.release())
			db = nil
		}
	}()
	if db.lock, err = lockDir(o.Dir); err != nil {
		return db, err
	}
	// Before anything is changed: opening the day files tidies up.
	if err := wal.CheckVersion(db.logFS(), filepath.Join(o.Dir, "wal")); err != nil {
		return db, fmt.Errorf("opening the log: %w", err)
	}
	if err := db.openFiles(); err != nil {
		return db, err
	}
	if err := db.openHead(); err != nil {
		return db, err
	}
	return db, db.registerGauges()
}

// registerGauges makes what is looked up on demand known to Prometheus.
func (db *DB) registerGauges() error {
	if db.opts.Metrics == nil {
		return nil
	}
	return db.opts.Metrics.Register(gauges{db})
}

func (o *Options) defaults() {
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.stallAfter == 0 {
		o.stallAfter, o.logWait = stallAfter, LogWait
	}
}

// LogMaxBytes is Options.WALMaxBytes as it is in use.
func (db *DB) LogMaxBytes() int64 { return db.opts.WALMaxBytes }

// defaultWALMaxBytes is 1 GiB, or an eighth of the file system if that is less.
func defaultWALMaxBytes(dir string) int64 {
	most := int64(1 << 30)
	if space, err := blocks.DiskSpaceOf(dir); err == nil {
		most = min(most, space.Total/8)
	}
	return most
}

// poolConns is how many connections answer queries at a time.
const poolConns = 8

func (db *DB) openFiles() (err error) {
	o := &db.opts
	db.metrics = newMetrics(o.Metrics)
	db.legacyErrors = map[string]error{}
	db.pool = blocks.NewPool(blocks.PoolOptions{Conns: poolConns})
	db.catalog = blocks.NewCatalog(db.pool)
	open := compact.Open
	if db.readOnly {
		open = compact.OpenReadOnly
	}
	db.compact, err = open(compact.Options{
		Dir: o.Dir, Logger: o.Logger, Now: o.Now, Catalog: db.catalog, FilterBytes: o.FilterBytes, SealDelay: o.SealDelay,
		RetentionTime: o.RetentionTime, RetentionSize: o.RetentionSize, DiskUsage: o.DiskUsage, By: o.By, Version: o.Version, LastSeen: db.lastSeen(), Observer: db.observer(), Step: o.step, Legacy: handedOver{db}, KeepFree: db.keepFree, Busy: db.busy, Crowds: db.crowds, Pressed: db.pressed,
	})
	if err != nil {
		return fmt.Errorf("opening the day files: %w", err)
	}
	return db.openLegacies()
}

// busy reports whether anybody waits for an answer.
func (db *DB) busy() bool {
	return db.appending.Load() > 0 || db.pool.Busy() || db.head.Reserved() > 0
}

// mostWaiting is how many rows may wait for a day that is being sealed, whatever the caps:
// less than a cut looks at, which counts them.
const mostWaiting = 1 << 15

// crowds reports whether so many rows of the head are a quarter of what it may hold.
func (db *DB) crowds(waiting int64) bool {
	records, bytes := db.head.Size()
	if waiting > min(db.opts.HeadMaxRecords/4, mostWaiting) {
		return true
	}
	return records > 0 && float64(waiting)/float64(records)*float64(bytes) > float64(db.opts.HeadMaxBytes)/4
}

// pressed reports whether what is cut is cut for the log's sake. Where the head needs
// room, relieve sees to it.
func (db *DB) pressed() bool { return db.walFull() }

func (db *DB) lastSeen() time.Time {
	if db.lock == nil {
		return time.Time{}
	}
	return db.lock.lastSeen
}

func (db *DB) headOptions() head.Options {
	o := &db.opts
	return head.Options{MaxRecords: o.HeadMaxRecords, MaxBytes: o.HeadMaxBytes, Settle: o.Settle, OpenTimeout: o.OpenTimeout, Retention: o.RetentionTime, Now: o.Now, Steady: db.compact.Steady}
}

func (db *DB) openHead() error {
	o := &db.opts
	policy, err := wal.ParseSyncPolicy(o.WALSync)
	if err != nil {
		return &OptionsError{err}
	}
	db.wal, err = wal.Open(filepath.Join(o.Dir, "wal"), wal.Options{FS: db.logFS(), SegmentBytes: o.walSegment, Sync: policy, SyncInterval: o.WALSyncInterval, OnError: db.logFailed,
		OnSync: func(took time.Duration) { db.metrics.fsync.Observe(took.Seconds()) }})
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	db.head = head.New(db.wal, db.headOptions())
	db.thin.rate = o.DetailRate
	db.thin.note = func(reason string) { db.metrics.thinned.WithLabelValues(reason).Inc() }
	return nil
}

func (db *DB) logFS() wal.FS {
	if db.opts.walFS != nil {
		return db.opts.walFS
	}
	return logFS
}

// release lets go of everything that was opened, in reverse order.
func (db *DB) release() error {
	var errs []error
	if db.wal != nil {
		errs = append(errs, db.wal.Close())
	}
	errs = append(errs, db.closeLegacies())
	// Before the live files: the last connection of one is to be that which writes, as a
	// reader's leaves what is in the -wal there, for whoever copies a stopped daemon's files.
	if db.pool != nil {
		db.pool.Close()
	}
	if db.compact != nil {
		errs = append(errs, db.compact.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.release())
	}
	return errors.Join(errs...)
}

// usable reports why the DB cannot be asked anything now.
func (db *DB) usable() error {
	switch {
	case db.closed.Load():
		return ErrClosed
	case !db.ready.Load():
		return ErrNotReady
	}
	return nil
}

// Ready tells whether the log is replayed, and how far.
func (db *DB) Ready() Progress {
	return Progress{Ready: db.ready.Load(), Done: db.done.Load(), Total: db.total.Load()}
}

// now is the clock, in microseconds.
func (db *DB) now() int64 { return db.opts.Now().UnixMicro() }

// floor is the time before which events are refused, in microseconds.
func (db *DB) floor() int64 {
	at := db.opts.Now().Add(-db.opts.MaxPast).UnixMicro()
	return max(at, db.retentionFrom())
}

// retentionFrom is the start of what retention by age keeps; 0 if it keeps
// everything.
func (db *DB) retentionFrom() int64 {
	from := int64(0)
	if f := db.head.Floor(); f > 0 {
		from = f.Start()
	}
	if db.opts.RetentionTime > 0 && !db.readOnly {
		from = max(from, task.DayOf(db.opts.Now().Add(-db.opts.RetentionTime).UnixMicro()).Start())
	}
	return from
}

// broadcast wakes everybody who waits.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that the next wake closes.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
