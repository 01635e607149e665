package blocks

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"daybook/tsdb/task"
)

const (
	// legacyWindow is how much time one read transaction covers.
	legacyWindow = 4 * 60 * 60 * 1_000_000
	// legacyRun is how many rows of one microsecond are held at once; a run
	// that is longer is read again behind those.
	legacyRun = 4096
	// legacyArms is how many index scans are merged in a window at most.
	legacyArms = 100
)

// Select calls fn for every row that matches, in the order of task.Key, each
// task_id once in its latest state. The Invocation is valid until fn returns;
// false ends the select. No connection is taken while fn runs.
//
// The error is fn's, that of ctx, or a *LegacyError, after fn has had the rows
// that were found until then.
func (l *Legacy) Select(ctx context.Context, s Select, fn func(*task.Invocation) (bool, error)) error {
	if s.Filter == nil {
		s.Filter = &task.Filter{}
	}
	if legacyNever(s.Filter) {
		return l.guard.check()
	}
	if s.Filter.TaskID != "" {
		return l.selectID(ctx, s, fn)
	}
	w := newLegacyWalk(l, s)
	for given, want := 0, firstFillRows; ; want = fillRows {
		if s.Limit > 0 {
			want = min(want, s.Limit-given)
		}
		failed := w.fill(ctx, want) // with the rows that were read before
		for i := range w.out {
			ok, err := fn(&w.out[i])
			if err != nil || !ok {
				return err
			}
			if given++; given == s.Limit {
				return nil
			}
		}
		if failed != nil || w.ended {
			return failed
		}
	}
}

// legacyNever reports whether no row can match: what the old program did not
// know cannot be asked for, and nothing in its file is open.
func legacyNever(f *task.Filter) bool {
	return f.Open || f.OpenBefore != 0 || f.RootID != "" || f.MinRetries > 0 || f.To != 0 && f.To <= max(f.From, 0)
}

func (l *Legacy) selectID(ctx context.Context, s Select, fn func(*task.Invocation) (bool, error)) error {
	id := s.Filter.TaskID
	if s.Skip != nil && s.Skip(id, task.HashID(id)) {
		return nil
	}
	found, err := l.Lookup(ctx, []string{id})
	if err != nil {
		return err
	}
	v, ok := found[id]
	if !ok || !s.Filter.Match(&v) {
		return nil
	}
	if key := v.Key(); s.After != nil && !behind(s.After, &key, s.Oldest) {
		return nil
	}
	if !s.Details {
		withoutLegacyDetails(&v)
	}
	_, err = fn(&v)
	return err
}

func withoutLegacyDetails(v *task.Invocation) {
	v.Args, v.Kwargs = "", ""
	v.Outcome.Result, v.Outcome.ExceptionMessage, v.Outcome.Traceback = "", "", ""
}

// legacyFound is a row that is shown, without its details.
type legacyFound struct {
	key   task.Key
	inv   task.Invocation
	place legacyRow // of a task with one row
	twice bool      // the task has several
}

// legacyWalk goes through a file in order.
type legacyWalk struct {
	l *Legacy
	s Select
	legacyPlan
	twice  *legacyTwice // nil until it is wanted
	probes int
	at     *task.Key     // the last row given out, at first Select.After
	edge   int64         // the time that is to be read next, inclusive
	held   []legacyFound // rows behind at, in order, that are read already
	out    []task.Invocation
	size   int64
	ended  bool
}

func newLegacyWalk(l *Legacy, s Select) *legacyWalk {
	w := &legacyWalk{l: l, s: s, at: s.After, twice: l.twiceIfBegun()}
	w.low, w.high = max(s.Filter.From, 1), int64(task.MaxMicros)
	if s.Filter.To != 0 {
		w.high = s.Filter.To - 1
	}
	if s.Oldest && s.After != nil {
		w.low = max(w.low, s.After.At)
	} else if s.After != nil {
		w.high = min(w.high, s.After.At)
	}
	w.edge = w.high
	if s.Oldest {
		w.edge = w.low
	}
	return w
}

// fill reads the next rows, want of them or a fair number of bytes.
func (w *legacyWalk) fill(ctx context.Context, want int) error {
	clear(w.out)
	w.out, w.size = w.out[:0], 0
	if err := w.l.guard.check(); err != nil {
		return err
	}
	err := w.prepare(ctx)
	if err == nil {
		err = w.l.pool.with(ctx, func(c *conn) error {
			r := legacyReader{w.l, c}
			for !w.ended && !w.full(want) {
				if err := w.give(ctx, r, want); err != nil || w.full(want) {
					return err
				}
				if err := w.window(ctx, r, want); err != nil {
					return err
				}
			}
			return nil
		})
	}
	// What SQLite told while the file changed under it is not to be believed.
	if changed := w.l.guard.check(); changed != nil {
		clear(w.out)
		w.out = w.out[:0]
		return changed
	}
	return legacyError(ctx, w.l.path, err)
}

func (w *legacyWalk) full(want int) bool { return len(w.out) >= want || w.size >= fillBytes }

// give passes on rows that are held.
func (w *legacyWalk) give(ctx context.Context, r legacyReader, want int) error {
	for len(w.held) > 0 && !w.full(want) {
		f := &w.held[0]
		if w.s.Details {
			if err := r.complete(ctx, f); err != nil {
				return err
			}
		}
		w.out = append(w.out, f.inv)
		w.size += f.inv.Size()
		key := f.key
		w.at = &key
		w.held[0] = legacyFound{}
		w.held = w.held[1:]
	}
	return nil
}

// complete adds the details to a row.
func (r legacyReader) complete(ctx context.Context, f *legacyFound) error {
	if f.twice {
		v, ok, err := r.find(ctx, f.key.ID)
		if ok {
			f.inv = v
		}
		return err
	}
	if err := r.details(ctx, &f.place); err != nil {
		return err
	}
	f.inv = f.place.invocation(f.key.At)
	return nil
}

// window reads the next four hours in which there are rows, or as many rows of
// them as are wanted.
func (w *legacyWalk) window(ctx context.Context, r legacyReader, want int) error {
	if w.edge < w.low || w.edge > w.high {
		w.ended = true
		return nil
	}
	arms, err := w.open(ctx, r)
	defer func() {
		for _, a := range arms {
			a.close()
		}
	}()
	if err != nil || w.ended {
		return err
	}
	for !w.full(want) {
		at, ok, err := w.nextTime(ctx, arms)
		if err != nil {
			return err
		}
		if !ok {
			w.passWindow()
			return nil
		}
		whole, err := w.run(ctx, r, arms, at)
		if err != nil {
			return err
		}
		if err := w.give(ctx, r, want); err != nil {
			return err
		}
		// The next window begins with this time while some of it is left.
		w.edge = at
		if len(w.held) > 0 || !whole {
			return nil
		}
	}
	return nil
}

func (w *legacyWalk) passWindow() {
	if w.s.Oldest {
		w.edge = w.windowHigh + 1
	} else {
		w.edge = w.windowLow - 1
	}
}

// run collects the rows of one microsecond, in order: sources have them in any
// order. whole is false if there are more behind them.
func (w *legacyWalk) run(ctx context.Context, r legacyReader, arms []*legacyArm, at int64) (whole bool, err error) {
	whole = true
	var rows []legacyFound
	keep := func(p *legacyPlaced) error {
		f, ok, err := w.wanted(ctx, r, p)
		if err != nil || !ok {
			return err
		}
		if rows = append(rows, f); len(rows) >= 2*legacyRun {
			w.sort(rows)
			clear(rows[legacyRun:])
			rows, whole = rows[:legacyRun], false
		}
		return nil
	}
	for _, a := range arms {
		for a.has && a.row.at == at {
			if err := errors.Join(keep(&a.row), a.advance(w)); err != nil {
				return false, err
			}
		}
	}
	for {
		e, err := w.sideHead(ctx)
		if err != nil || e == nil || e.at != at {
			w.sort(rows)
			if !whole { // only the first ones are all that there are up to them
				clear(rows[legacyRun:])
				rows = rows[:legacyRun]
			}
			w.held = rows
			return whole, err
		}
		p, ok, err := r.row(ctx, e)
		w.pos.next()
		if ok && err == nil {
			err = keep(&p)
		}
		if err != nil {
			return false, err
		}
	}
}

func (w *legacyWalk) sort(rows []legacyFound) {
	slices.SortFunc(rows, func(a, b legacyFound) int {
		if w.s.Oldest {
			return a.key.Compare(b.key)
		}
		return b.key.Compare(a.key)
	})
}

// wanted decides whether a row is shown: it matches, and stands for its task.
func (w *legacyWalk) wanted(ctx context.Context, r legacyReader, p *legacyPlaced) (f legacyFound, ok bool, err error) {
	f.key = task.Key{At: p.at, Hash: task.HashID(p.id), ID: p.id}
	if w.at != nil && !behind(w.at, &f.key, w.s.Oldest) || w.s.Skip != nil && w.s.Skip(p.id, f.key.Hash) {
		return f, false, nil
	}
	f.inv, f.place = p.invocation(p.at), p.legacyRow
	matches := w.s.Filter.Match(&f.inv)
	gaps := !legacyKnown(p.name) || p.worker == "" || p.queue == ""
	if len(w.l.tables) == 1 || !matches && !gaps {
		return f, matches, nil
	}
	if w.probes++; w.probes >= legacyProbes && w.twice == nil {
		w.twice = w.l.twice()
	}
	if w.twice.single(f.key.Hash) {
		return f, matches, nil
	}
	tables, err := r.holders(ctx, p.id)
	if err != nil || len(tables) < 2 {
		return f, matches, err
	}
	rows, err := r.rowsOf(ctx, p.id, tables, false)
	if err != nil || len(rows) < 2 {
		return f, matches, err
	}
	v, latest := mergeLegacy(rows)
	f.inv, f.twice = v, true
	mine := rows[latest].table == p.table && rows[latest].rowid == p.rowid
	return f, mine && w.s.Filter.Match(&f.inv), nil
}

// nextTime is the time of the next row in the window; false at its end.
func (w *legacyWalk) nextTime(ctx context.Context, arms []*legacyArm) (at int64, ok bool, err error) {
	for _, a := range arms {
		if a.has && (!ok || w.first(a.row.at, at)) {
			at, ok = a.row.at, true
		}
	}
	e, err := w.sideHead(ctx)
	if e != nil && e.at >= w.windowLow && e.at <= w.windowHigh && (!ok || w.first(e.at, at)) {
		at, ok = e.at, true
	}
	return at, ok, err
}

// first reports whether time a comes before b in the walk.
func (w *legacyWalk) first(a, b int64) bool { return cmp.Compare(a, b) < 0 == w.s.Oldest && a != b }
