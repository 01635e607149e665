package tsdb

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// operation is something that the daemon does by itself, so that nobody waits
// for its error: a label of daybook_background_failures_total.
type operation string

// The operations. Those of package compact are named there.
const (
	opLog        operation = "log"
	opLogFiles   operation = "log-files"
	opCut        operation = "cut"
	opLive       operation = "live-file"
	opCheckpoint operation = "checkpoint"
	opReplay     operation = "replay"
	opMoves      operation = "finish-moves"
	opSeal       operation = "seal"
	opRetain     operation = "retention"
	opSpace      operation = "retention-space"
	opLegacy     operation = "legacy"
	opLegacyNote operation = "legacy-note"
	opLegacySums operation = "legacy-rollups"
	opRemove     operation = "remove"
	opChecksum   operation = "checksum"
	opFilter     operation = "filter"
	opClock      operation = "clock"
	opLock       operation = "lock"
	opOpen       operation = "open"
)

// operations is what Health says of each when it fails, in this order. With
// those that store, new records end in memory or are refused.
var operations = []struct {
	op     operation
	says   string
	stores bool
}{
	{opLog, "cannot store: writing the log", true},
	{opCut, "cannot store: cutting", true},
	{opLive, "cannot store: creating live files", true},
	{opCheckpoint, "cannot store: writing a checkpoint", true},
	{opReplay, "the log was damaged when it was replayed", false},
	{opMoves, "the cut in which this copy was made cannot be finished", false},
	{opSeal, "sealing fails", false},
	{opChecksum, "a sealed day has no checksum", false},
	{opRemove, "files that are replaced or have expired cannot be deleted", false},
	{opRetain, "retention by age fails", false},
	{opSpace, "retention by size fails", false},
	{opLegacy, "a legacy file cannot be let go of", false},
	{opLegacyNote, "the legacy files cannot be noted for the tools", false},
	{opLegacySums, "the rollups of a legacy file cannot be computed", false},
	{opLogFiles, "files of the log that are replaced cannot be deleted", false},
	{opFilter, "an id filter cannot be read, its day is probed on disk", false},
	{opClock, "the time cannot be noted", false},
	{opLock, "the lock file is not the one that was locked at the start, restart the daemon", false},
	{opOpen, "not all could be put in order at the start", false},
}

// failureLogged is how often an operation that fails is logged, with whatever it
// fails by then: what it fails with changes from try to try. Health has the latest.
const failureLogged = time.Minute

// failures are the operations that failed when they were last tried.
type failures struct {
	mu sync.Mutex
	m  map[operation]*failure
}

type failure struct {
	err    error // nil: it has worked since
	logged time.Time
}

// tried notes what became of an operation; nil says that it works. Only the
// next try of the same operation makes up for a failure.
func (db *DB) tried(op operation, err error) {
	if errors.Is(err, context.Canceled) {
		return // it was stopped
	}
	f := &db.failures
	f.mu.Lock()
	x := f.m[op]
	if x == nil && err == nil {
		f.mu.Unlock()
		return
	}
	if x == nil {
		if f.m == nil {
			f.m = map[operation]*failure{}
		}
		x = &failure{}
		f.m[op] = x
	}
	x.err = err
	say := false
	if err != nil {
		now := time.Now()
		if say = x.logged.IsZero() || now.Sub(x.logged) >= failureLogged; say {
			x.logged = now
		}
	}
	f.mu.Unlock()
	if err != nil {
		db.metrics.failures.WithLabelValues(string(op)).Inc()
	}
	if say {
		level.Error(db.logger).Log("msg", "what the daemon does by itself has failed", "operation", op, "err", oneLine(err))
	}
}

// fails reports whether an operation failed when it was last tried.
func (db *DB) fails(op operation) bool {
	db.failures.mu.Lock()
	defer db.failures.mu.Unlock()
	x := db.failures.m[op]
	return x != nil && x.err != nil
}

// failureReasons says what fails, and whether storing is among it.
func (db *DB) failureReasons() (reasons []string, stores bool) {
	f := &db.failures
	f.mu.Lock()
	defer f.mu.Unlock()
	stores = true
	for _, o := range operations {
		x := f.m[o.op]
		if x == nil || x.err == nil {
			continue
		}
		stores = stores && !o.stores
		reasons = append(reasons, o.says+": "+oneLine(x.err))
	}
	return reasons, stores
}

// oneLine is an error as one line, what was joined by semicolons.
func oneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	return strings.Join(slices.Compact(lines), "; ")
}
