package tsdb

import (
	"fmt"
	"sync"
	"time"

	"daybook/tsdb/task"
)

const (
	// maxGapsTold is how many gaps an answer lists at most.
	maxGapsTold = 1000
	// lossQuiet ends a stretch of losses: what is lost later is another gap.
	// lossStretch bounds one that goes on, and lossTold how often it is logged.
	lossQuiet   = time.Minute
	lossStretch = time.Hour
	lossTold    = time.Second
)

// loss is a way in which records are lost one request at a time.
type loss struct{ source, cause string }

// The losses. Those of requests that were answered with 503 have no count:
// clients try again. The time is that of arrival: what a wrong clock says is
// not when it happened, and what is older than retention is not missing.
var (
	lossTooOld   = loss{"clock", "refused: too old"}
	lossTooFar   = loss{"clock", "refused: too far ahead"}
	lossHeadFull = loss{"head", "refused: head full"}
	lossDiskFull = loss{"disk", "disk full"}
	lossNotLog   = loss{"log", "refused: log not written"}
	lossStalled  = loss{"disk", "dropped"}
	lossNoAnswer = loss{"disk", "refused: disk stalled"}
)

// losses turns losses into gaps: one a cause, until a minute passes without any.
type losses struct {
	mu sync.Mutex // no I/O under it
	m  map[loss]*lossGap
}

// lossGap is the gap that goes on.
type lossGap struct {
	task.Gap
	told int64 // when the head was told of it
	new  bool  // it has grown since
}

// noteLoss records that n records, 0 if that is not known, were lost just now.
func (db *DB) noteLoss(l loss, n int64) {
	if db.readOnly {
		return
	}
	now := db.now()
	s := &db.losses
	s.mu.Lock()
	if s.m == nil {
		s.m = map[loss]*lossGap{}
	}
	g := s.m[l]
	var ended *task.Gap
	if g == nil || now-g.To > lossQuiet.Microseconds() || now-g.From > lossStretch.Microseconds() || now < g.From {
		if g != nil && g.new {
			ended = &g.Gap
		}
		g = &lossGap{Gap: task.Gap{Source: l.source, Cause: l.cause, From: now, To: now}, told: now - lossTold.Microseconds()}
		s.m[l] = g
	}
	g.To, g.Count, g.new = max(g.To, now), g.Count+n, true
	tell := now-g.told >= lossTold.Microseconds()
	if tell {
		g.told, g.new = now, false
	}
	gap := g.Gap
	s.mu.Unlock()
	if ended != nil {
		db.head.AddGap(*ended)
	}
	if tell {
		db.head.AddGap(gap)
	}
}

// settleGaps has the head know all there is to know, and the log as well.
func (db *DB) settleGaps() error {
	db.tellLosses()
	if err := db.head.SyncGaps(); err != nil {
		return fmt.Errorf("logging gaps: %w", err)
	}
	return nil
}

// tellLosses has the head know of all losses.
func (db *DB) tellLosses() {
	s := &db.losses
	var gaps []task.Gap
	s.mu.Lock()
	for _, g := range s.m {
		if g.new {
			g.told, g.new = g.To, false
			gaps = append(gaps, g.Gap)
		}
	}
	s.mu.Unlock()
	for _, g := range gaps {
		db.head.AddGap(g)
	}
}

// AddGap records that something is missing: a broker that was lost, messages
// that were dropped. Told again with a later end, it grows. What is told while
// the log is replayed is recorded afterwards.
func (db *DB) AddGap(g Gap) {
	if db.readOnly || db.closed.Load() {
		return
	}
	db.mu.Lock()
	wait := !db.ready.Load()
	if wait {
		db.early.Add(g)
	}
	db.mu.Unlock()
	if !wait {
		db.head.AddGap(g)
	}
}

// addEarlyGaps records what was told before the DB was ready.
func (db *DB) addEarlyGaps() {
	db.mu.Lock()
	early := db.early.Sorted()
	db.early = task.GapSet{}
	db.mu.Unlock()
	for _, g := range early {
		db.head.AddGap(g)
	}
}

// LastSeen is the last time at which a daemon was known to run here before this
// one; zero if none has.
func (db *DB) LastSeen() time.Time { return db.lastSeen() }

// Leave is called when nothing is listened to any more, before what is there is
// stored: LastSeen of the next one is now, however long that and Close take.
// One that was never ready has not been here.
func (db *DB) Leave() {
	if !db.readOnly && db.ready.Load() {
		db.compact.Leave()
	}
}

// gaps are those that touch a range of time, each once, by start; to 0 is no
// bound.
func (db *DB) gaps(from, to int64) []task.Gap {
	db.tellLosses()
	var set task.GapSet
	for _, g := range db.head.Gaps() { // before the files: gaps move there
		set.Add(g)
	}
	view := db.catalog.View()
	defer view.Release()
	view.AddGaps(&set, from, to)
	out := set.Sorted()
	n := 0
	for _, g := range out { // the head's have not been looked at
		if g.Touches(from, to) {
			out[n] = g
			n++
		}
	}
	return out[:n]
}

// headGaps are those that no file tells as fully yet.
func (db *DB) headGaps() []task.Gap {
	gaps := db.head.Gaps()
	var stored task.GapSet
	view := db.catalog.View()
	defer view.Release()
	view.AddGaps(&stored, 0, 0)
	n := 0
	for _, g := range gaps {
		if known := stored.Get(g); known.To < g.To || known.Count < g.Count {
			gaps[n] = g
			n++
		}
	}
	return gaps[:n]
}
