package tsdb

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"slices"

	"daybook/blocks"
	"daybook/compact"
	"daybook/head"
	"daybook/tsdb/task"
)

// moveTries bounds how often a query begins again because rows moved between
// days or out of the parked file while it read.
const moveTries = 4

// maxPageBytes ends a page before its limit: a thousand rows may carry a
// thousand tracebacks of 64 KiB.
const maxPageBytes = 16 << 20

// Get returns all that is known of an invocation, details included; a
// *NotFoundError if nothing is.
func (db *DB) Get(ctx context.Context, id string) (task.Invocation, error) {
	if err := db.usable(); err != nil {
		return task.Invocation{}, err
	}
	defer db.metrics.timed("get")()
	v, unreadable, err := db.get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		err = &NotFoundError{db.coverage(&task.Filter{}, unreadable)}
	}
	return v, err
}

// get is Get, with ErrNotFound and the names of files that could not be asked.
func (db *DB) get(ctx context.Context, id string) (v task.Invocation, unreadable []string, err error) {
	for try := 1; ; try++ {
		moves := db.catalog.Moves()
		if v := db.head.Get(id); v != nil {
			return *v, nil, nil
		}
		bases, _, unreadable, err := db.stored(ctx, []string{id})
		if err != nil {
			return task.Invocation{}, nil, err
		}
		old, failed, err := db.legacyRows(ctx, []string{id}, false)
		v, ok := old[id]
		if b := bases[id]; b.Inv != nil && ok {
			return task.Merge(*b.Inv, v), nil, nil
		} else if b.Inv != nil {
			return *b.Inv, nil, nil
		} else if ok {
			return v, nil, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil { // it may be there
			return task.Invocation{}, nil, err
		}
		// It may have gone from one place to another between two looks.
		if db.catalog.Moves() == moves && db.head.Get(id) == nil || try == moveTries {
			return task.Invocation{}, append(unreadable, failed...), ErrNotFound
		}
	}
}

// Select answers a query: each invocation once, in its latest state, in order.
func (db *DB) Select(ctx context.Context, q Query) (Page, error) {
	if err := db.usable(); err != nil {
		return Page{}, err
	}
	defer db.metrics.timed("select")()
	if q.Limit < 1 {
		return Page{}, fmt.Errorf("limit is %d, must be at least 1", q.Limit)
	}
	var page Page
	steady, err := db.steadily(ctx, func() (err error) {
		page, err = db.selectOnce(ctx, q)
		return err
	})
	if err != nil && (ctx.Err() == nil || len(page.Invocations) == 0) {
		return Page{}, err
	}
	if !steady {
		page.Coverage.Inexact, page.Coverage.Complete = true, false
	}
	return page, nil
}

// steadily asks until no row has moved meanwhile; in the end the rows are kept
// where they are. It reports whether that went: a head that fills does not wait.
func (db *DB) steadily(ctx context.Context, ask func() error) (steady bool, err error) {
	release := func() {}
	for try := 1; ; try++ {
		if try > freeTries {
			if release, err = db.compact.HoldMoves(ctx); err != nil {
				return false, err
			}
		}
		moves := db.catalog.Moves()
		err := func() error {
			defer release()
			return ask()
		}()
		// What has been found by the time that the time is over is the answer.
		if steady := db.catalog.Moves() == moves; err != nil || steady || try == moveTries || ctx.Err() != nil {
			return steady, err
		}
	}
}

func (db *DB) selectOnce(ctx context.Context, q Query) (Page, error) {
	var page Page
	var full bool
	var bytes int64
	unreadable, err := db.walk(ctx, q, q.Limit+1, func(v *task.Invocation) (bool, error) {
		if full = len(page.Invocations) == q.Limit || bytes > maxPageBytes; full {
			return false, nil
		}
		bytes += v.Size()
		page.Invocations = append(page.Invocations, *v)
		return true, nil
	})
	page.Complete = err == nil
	timedOut := errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil
	if err != nil && !(timedOut && len(page.Invocations) > 0) {
		return Page{}, err
	}
	if n := len(page.Invocations); n > 0 && (full || !page.Complete) {
		k := page.Invocations[n-1].Key()
		page.Next = &k
	}
	page.Coverage = db.coverage(&q.Filter, unreadable)
	return page, nil
}

// walk calls fn for every invocation that is wanted, in order, each once: a
// merge of the head, the parked file and the days. fn returns false to stop.
// hint is how many fn will want at most; 0 is all. It returns the names of
// files that could not be read.
//
// What is parked may be a million invocations. Where all are wanted the order
// does not matter (anyOrder) or they are put in order first, at half a KiB each.
func (db *DB) walk(ctx context.Context, q Query, hint int, fn func(*task.Invocation) (bool, error)) ([]string, error) {
	// The order matters: rows move from the head to the files, so that what
	// leaves it after this snapshot is in it, and what has left it before is in
	// the files looked at after it.
	snap := db.head.Snapshot()
	view := db.catalog.View()
	defer view.Release()
	files, done := db.legacy.use()
	defer done()
	unreadable, err := db.walkIn(ctx, &snap, view, files, q, hint, fn)
	return append(unreadable, db.leftOut(view)...), err
}

// anyOrder is the hint of a walk to which all invocations are welcome as they
// come. Of those that are parked, which are given out first, it remembers 8
// bytes each.
const anyOrder = -1

// walkIn is walk over a snapshot and a view. It returns the names of legacy
// files that could not be read.
func (db *DB) walkIn(ctx context.Context, snap *head.Snapshot, view *blocks.View, files []*legacyFile, q Query, hint int, fn func(*task.Invocation) (bool, error)) ([]string, error) {
	m := merger{ctx: ctx, q: &q, fn: fn, seen: map[string]bool{}, bounded: hint > 0}
	var err error
	if hint == anyOrder {
		m.memory = pick(likely(snap, &q), &q, 0)
	} else if m.memory, err = db.memoryRows(ctx, &q, snap, hint); err != nil {
		return nil, err
	}
	for _, v := range m.memory {
		m.seen[v.TaskID] = true
	}
	if hint == anyOrder {
		hint = 0
		if err = m.parked(ctx, db.compact.Parked(), snap); err != nil || m.stopped {
			return nil, err
		}
	}
	m.legacy = db.openLegacySources(ctx, files, &q, func(id string) bool {
		return snap.Holds(id) || isParked(ctx, db.compact.Parked(), id) || inDays(ctx, view, id)
	})
	defer m.stopLegacy()
	if !q.Open && q.OpenBefore == 0 {
		sel := blocks.Select{Filter: &q.Filter, Text: q.Text, Oldest: q.Oldest, After: q.After, Details: q.Details, Limit: hint,
			Skip: func(id string, _ uint64) bool { return snap.Holds(id) }}
		err = view.Select(ctx, sel, m.block)
	}
	if err == nil && !m.stopped {
		err = m.rest()
	}
	if err == nil {
		err = ctx.Err()
	}
	return failed(m.legacy), err
}

// memoryRows collects what the head and the parked file have to offer, in order.
func (db *DB) memoryRows(ctx context.Context, q *Query, snap *head.Snapshot, hint int) ([]*task.Invocation, error) {
	rows := pick(likely(snap, q), q, hint)
	parked := db.compact.Parked()
	if parked == nil || !mayBeOpen(&q.Filter) {
		return rows, nil
	}
	n, size := 0, int64(0)
	err := scanParked(ctx, parked, q, snap, func(v *task.Invocation) (bool, error) {
		row := *v
		if !q.Details { // a walk without a bound may collect very many
			row.Args, row.Kwargs, row.Outcome.Result, row.Outcome.ExceptionMessage, row.Outcome.Traceback = "", "", "", "", ""
		}
		rows = append(rows, &row)
		if n++; hint > 0 && size > maxPageBytes {
			return false, nil // the page is full before it, and knows that there is more
		}
		size += row.Size()
		return hint == 0 || n < hint, nil
	})
	sortRows(rows, q.Oldest)
	// One that was parked after the snapshot is in both, the same.
	rows = slices.CompactFunc(rows, func(a, b *task.Invocation) bool { return a.TaskID == b.TaskID })
	return rows, err
}

// scanParked calls fn for every parked invocation that is wanted and not in the
// head, in order; fn returns false to stop.
func scanParked(ctx context.Context, parked *blocks.Parked, q *Query, snap *head.Snapshot, fn func(*task.Invocation) (bool, error)) error {
	if parked.Lacks(ctx, q.TaskNames) {
		return nil
	}
	wanted := func(v *task.Invocation) (want, more bool) {
		if outOfRange(q, v.RowTime()) {
			return false, false
		}
		return q.matches(v), true
	}
	return parked.ScanWanted(ctx, startOf(q), q.Oldest, wanted, func(v *task.Invocation) (bool, error) {
		if snap.Holds(v.TaskID) {
			return true, nil
		}
		return fn(v)
	})
}

// startOf is a place of the order before everything that a query wants; nil is
// the beginning.
func startOf(q *Query) *task.Key {
	switch {
	case q.After != nil:
		return q.After
	case q.Oldest && q.From > 0:
		return &task.Key{At: q.From - 1}
	case !q.Oldest && q.To > 0:
		return &task.Key{At: q.To}
	}
	return nil
}

// outOfRange reports whether a walk in the query's direction has left the range.
func outOfRange(q *Query, at int64) bool {
	if q.Oldest {
		return q.To != 0 && at >= q.To
	}
	return at < q.From
}

// mayBeOpen reports whether an open invocation could match.
func mayBeOpen(f *task.Filter) bool {
	return len(f.States) == 0 || slices.ContainsFunc(f.States, func(s task.State) bool { return !s.Finished() })
}

// found reports whether an invocation, details included, has the words.
func (q *Query) found(v *task.Invocation) bool { return q.Text == nil || q.Text.Match(v) }

// matches reports whether an invocation in memory is wanted.
func (q *Query) matches(v *task.Invocation) bool { return q.Match(v) && q.found(v) }

// merger interleaves the rows in memory and of legacy files with those of the
// blocks. Where an id
// is in both, because it was cut between the snapshot and the reading of its
// day, the row in memory is given out.
type merger struct {
	ctx     context.Context // of the sources: see first
	q       *Query
	fn      func(*task.Invocation) (bool, error)
	memory  []*task.Invocation
	legacy  []*legacySource
	seen    map[string]bool     // ids in memory or, in a bounded walk, given out
	hashes  map[uint64]struct{} // of the ids that parked has given out
	bounded bool
	stopped bool
}

// parked gives out what is parked before anything else is read: it may be in a
// day by then. One that is parked again meanwhile comes by twice, and one that
// was parked after the snapshot is in memory, too.
func (m *merger) parked(ctx context.Context, parked *blocks.Parked, snap *head.Snapshot) error {
	if parked == nil || !mayBeOpen(&m.q.Filter) {
		return nil
	}
	m.hashes = map[uint64]struct{}{}
	return scanParked(ctx, parked, m.q, snap, func(v *task.Invocation) (bool, error) {
		if m.has(v.TaskID) {
			return true, nil
		}
		m.hashes[hashGiven(v.TaskID)] = struct{}{}
		return m.give(v)
	})
}

// hashGiven is of this process alone: ids that collide under task.HashID can be
// invented, and would be left out of counts.
func hashGiven(id string) uint64 { return maphash.String(givenSeed, id) }

var givenSeed = maphash.MakeSeed()

// has reports whether an id is in memory or was given out.
func (m *merger) has(id string) bool {
	if m.seen[id] {
		return true
	}
	if len(m.hashes) == 0 {
		return false
	}
	_, ok := m.hashes[hashGiven(id)]
	return ok
}

// block takes the next row of the blocks.
func (m *merger) block(v *task.Invocation) (bool, error) {
	if m.has(v.TaskID) {
		return true, nil
	}
	if m.bounded {
		m.seen[v.TaskID] = true
	}
	k := v.Key()
	for {
		row, from, err := m.first(&k)
		if err != nil {
			return false, err
		}
		if row == nil || !follows(k, row.Key(), m.q.Oldest) {
			return m.give(v)
		}
		if more, err := m.nextOther(row, from); !more {
			return false, err
		}
	}
}

// rest gives out what is left beside the blocks.
func (m *merger) rest() error {
	for {
		row, from, err := m.first(nil)
		if row == nil || err != nil {
			return err
		}
		if more, err := m.nextOther(row, from); !more {
			return err
		}
	}
}

// first is the row that comes next in memory or in a legacy file, and the file it
// is of; nil for one in memory. There may be none that comes before the next row of
// the blocks, at; nil if there is none of these.
//
// A file that could not be read to the end is taken for one that has ended, and
// named. But where the reader's time has run out it has more, and nothing that comes
// behind that may be given out: a page ends where the next one goes on.
func (m *merger) first(at *task.Key) (row *task.Invocation, from *legacySource, err error) {
	if len(m.memory) > 0 {
		row = m.memory[0]
		if k := row.Key(); at == nil || follows(*at, k, m.q.Oldest) {
			at = &k
		}
	}
	for _, s := range m.legacy {
		s.reach(at, m.q.Oldest)
		if s.err != nil && m.ctx.Err() != nil {
			return nil, nil, m.ctx.Err()
		}
		if s.row != nil && (row == nil || follows(row.Key(), s.row.Key(), m.q.Oldest)) {
			row, from = s.row, s
		}
	}
	return row, from, nil
}

// nextOther gives out what first has found.
func (m *merger) nextOther(row *task.Invocation, from *legacySource) (bool, error) {
	v := *row
	if from != nil {
		from.advance()
		if m.has(v.TaskID) || !m.q.found(&v) {
			return true, nil
		}
		m.seen[v.TaskID] = true
		return m.give(&v)
	}
	m.memory = m.memory[1:]
	return m.give(&v)
}

func (m *merger) stopLegacy() {
	for _, s := range m.legacy {
		s.stop()
	}
}

// give passes a row on.
func (m *merger) give(v *task.Invocation) (bool, error) {
	if !m.q.Details {
		v.Args, v.Kwargs, v.Outcome.Result, v.Outcome.ExceptionMessage, v.Outcome.Traceback = "", "", "", "", ""
	}
	more, err := m.fn(v)
	m.stopped = !more || err != nil
	return more && err == nil, err
}

// coverage says what an answer to a filter does not cover.
func (db *DB) coverage(f *task.Filter, unreadable []string) Coverage {
	c := Coverage{From: f.From, To: f.To, RetentionFrom: db.retentionFrom(), Unreadable: unreadable}
	for name, err := range db.compact.Unreadable() {
		if d, lost := compact.LostDay(name, err); lost && (d.End() <= f.From || f.To != 0 && d.Start() >= f.To) {
			continue
		}
		c.Unreadable = append(c.Unreadable, name)
	}
	for path, err := range db.legacyErrors { // what they hold is not known: any range may be touched
		if !db.legacyMissing(path, err) {
			c.Unreadable = append(c.Unreadable, filepath.Base(path))
		}
	}
	for _, path := range db.keptLegacies() {
		c.Unreadable = append(c.Unreadable, filepath.Base(path))
	}
	slices.Sort(c.Unreadable)
	c.Unreadable = slices.Compact(c.Unreadable)
	if c.Inexact = len(c.Unreadable) > 0 && c.Unreadable[0] == inexact; c.Inexact {
		c.Unreadable = c.Unreadable[1:]
	}
	c.Gaps = task.FoldGaps(db.gaps(f.From, f.To), maxGapsTold)
	// All of time is covered as long as nothing was deleted of it.
	_, deleted := db.head.Deleted()
	c.Complete = !c.Inexact && len(c.Gaps) == 0 && len(c.Unreadable) == 0 && (f.From >= c.RetentionFrom || f.From == 0 && !deleted)
	return c
}
