package blocks

import (
	"context"
	"database/sql/driver"

	"fmt"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

// legacyPlan is how a walk finds its rows.
type legacyPlan struct {
	planned bool
	low     int64 // of the range of time that is left of filter and cursor,
	high    int64 // both inclusive
	states  []task.State
	dated   bool            // rows with finished_at can match
	names   []string        // one index scan for each; nil: by time alone
	hashes  map[uint32]bool // of the names that can match; nil is any
	pos     *legacySidePos
	side    *legacySide

	windowLow, windowHigh int64 // both inclusive
}

// legacyArm is one open index scan, at a row.
type legacyArm struct {
	t   *legacyTable
	cur *legacyCursor
	row legacyPlaced
	has bool
}

func (a *legacyArm) close() { a.cur.close() }

// prepare decides, once, how rows are found. It waits for the side without
// holding a connection.
func (w *legacyWalk) prepare(ctx context.Context) error {
	if w.planned {
		return nil
	}
	f := w.s.Filter
	w.states = wantedStates(f)
	w.dated = w.states == nil || slices.Contains(w.states, task.StateSuccess) || slices.Contains(w.states, task.StateFailure)
	indexed := !slices.ContainsFunc(w.l.tables, func(t *legacyTable) bool { return t.byName == "" })
	err := w.l.pool.with(ctx, func(c *conn) (err error) {
		if err = w.planNames(ctx, c); err != nil {
			return err
		}
		if w.side = w.l.ready(); w.side == nil && indexed && w.names != nil {
			w.side, err = w.l.straysOf(ctx, c, w.names)
		}
		return err
	})
	if err == nil && w.side == nil {
		w.side, err = w.l.side(ctx)
	}
	w.planned = err == nil
	return err
}

// planNames resolves the wanted names to those that there are.
func (w *legacyWalk) planNames(ctx context.Context, c *conn) error {
	wanted := w.s.Filter.TaskNames
	plain := func(s string) bool { return plainText(s) && s != "*" }
	if len(wanted) == 0 || slices.ContainsFunc(wanted, func(s string) bool { return !plain(s) }) {
		return nil
	}
	var names []string
	patterns := false
	for _, name := range wanted {
		prefix, isPrefix := strings.CutSuffix(name, "*")
		if !isPrefix {
			names = append(names, name)
			continue
		}
		patterns = true
		more, ok, err := w.l.namesOf(ctx, c, prefix, maxArms)
		if err != nil || !ok {
			return err
		}
		names = append(names, more...)
	}
	if len(w.l.tables) > 1 {
		names = append(names, legacyUnknown, "") // whose names another table may tell
	}
	slices.Sort(names)
	names = slices.Compact(names)
	byIndex, listed := true, true
	for _, t := range w.l.tables {
		byIndex = byIndex && (t.byTime == "" || t.byName != "")
		listed = listed && t.byName != ""
	}
	if len(names) > maxArms+2 || patterns && !listed {
		return nil // a table without the index may have names that no other has
	}
	w.hashes = map[uint32]bool{}
	for _, name := range names {
		w.hashes[legacyNameHash(name)] = true
	}
	if byIndex {
		w.names = names
		if names == nil {
			w.names = []string{}
		}
	}
	return nil
}

// namesOf lists the names with a prefix, some more than most if there are
// more; not ok if they cannot be told apart.
func (l *Legacy) namesOf(ctx context.Context, c *conn, prefix string, most int) (names []string, ok bool, err error) {
	for _, t := range l.tables {
		if t.byName == "" {
			continue
		}
		if len(names) <= most && !slices.Contains(names, prefix) {
			names = append(names, prefix) // the walk begins behind it
		}
		for last := prefix; len(names) <= most+1; {
			var vals [1]driver.Value
			ok, err := c.queryRow(ctx, vals[:], t.nameText(), last)
			if err != nil {
				return nil, false, err
			}
			last = legacyTexts{}.text(vals[0])
			if !ok || vals[0] == nil || !strings.HasPrefix(last, prefix) {
				break
			}
			if !plainText(last) {
				// It is cut or mended: the walk cannot go on behind it.
				return nil, false, nil
			}
			if !slices.Contains(names, last) {
				names = append(names, last)
			}
		}
	}
	return names, true, nil
}

// straysOf is the side of a few names, nil if it is too much to read for one
// query.
func (l *Legacy) straysOf(ctx context.Context, c *conn, names []string) (*legacySide, error) {
	s := &legacySide{}
	for _, t := range l.tables {
		for _, name := range names {
			for i := range t.strays() {
				args := []driver.Value{name}
				if i == 0 {
					args = append(args, t.firstRow-1)
				}
				left := int64(legacyStrays - len(s.mem))
				end, err := l.eachStray(ctx, c, t, s.add, t.strayText(i, true), append(args, left)...)
				if err != nil {
					return nil, err
				}
				if int64(end.n) >= left {
					return nil, nil
				}
			}
		}
	}
	return s, s.finish()
}

// open finds where the next window begins and opens the scans of it.
func (w *legacyWalk) open(ctx context.Context, r legacyReader) (arms []*legacyArm, err error) {
	starts, at, err := w.starts(ctx, r.c)
	if err != nil {
		return nil, err
	}
	w.pos = w.side.from(w.edge, w.s.Oldest)
	e, err := w.sideHead(ctx)
	if err != nil {
		return nil, err
	}
	if e != nil && (at == 0 || w.first(e.at, at)) {
		at = e.at
	}
	if at < w.low || at > w.high {
		w.ended = true
		return nil, nil
	}
	w.windowLow, w.windowHigh = max(w.low, at-legacyWindow+1), at
	if w.s.Oldest {
		w.windowLow, w.windowHigh = at, min(w.high, at+legacyWindow-1)
	}
	for _, s := range starts {
		if s.at < w.windowLow || s.at > w.windowHigh {
			continue
		}
		if len(arms) == legacyArms {
			return arms, &LegacyError{Path: w.l.path, Reason: fmt.Sprintf("more than %d tables have rows of the same four hours", legacyArms), Remedy: "this is nothing that Phlower writes"}
		}
		a, err := w.openArm(ctx, r.c, s)
		if err != nil {
			return arms, err
		}
		arms = append(arms, a)
		if err := a.advance(w); err != nil {
			return arms, err
		}
	}
	return arms, nil
}

// legacyStart is an index scan and the time of its first row.
type legacyStart struct {
	t    *legacyTable
	name string
	at   int64
}

// starts asks every index scan for its next row. at is the first of their
// times, clipped to the range, 0 if there is none.
func (w *legacyWalk) starts(ctx context.Context, c *conn) (out []legacyStart, at int64, err error) {
	if !w.dated {
		return nil, 0, nil
	}
	low, high := w.low, w.edge
	if w.s.Oldest {
		low, high = w.edge, w.high
	}
	names := w.names
	if names == nil {
		names = []string{""}
	}
	for _, t := range w.l.tables {
		if t.newest == 0 || t.newest < low || t.oldest > high || at != 0 && w.beyond(t, at) {
			continue
		}
		for _, name := range names {
			if w.names != nil && name == "" {
				continue // no row of the old program's is without a name
			}
			got, err := t.edge(ctx, c, name, legacySeconds(low-1), legacySeconds(high+1), w.s.Oldest)
			if err != nil {
				return nil, 0, err
			}
			if got == 0 {
				continue
			}
			got = min(max(got, low), high)
			out = append(out, legacyStart{t, name, got})
			if at == 0 || w.first(got, at) {
				at = got
			}
		}
	}
	return out, at, nil
}

// beyond reports whether all rows of a table come after a window that begins
// at a time.
func (w *legacyWalk) beyond(t *legacyTable, at int64) bool {
	if w.s.Oldest {
		return t.oldest > at+legacyWindow
	}
	return t.newest < at-legacyWindow
}

func (w *legacyWalk) openArm(ctx context.Context, c *conn, s legacyStart) (*legacyArm, error) {
	var dated []task.State
	for _, state := range w.states {
		if state == task.StateSuccess || state == task.StateFailure {
			dated = append(dated, state)
		}
	}
	conds, more := legacyFilter(s.t, w.s.Filter, dated, len(w.l.tables) > 1)
	var args []driver.Value
	if w.names != nil {
		args = append(args, s.name)
	}
	args = append(args, legacySeconds(w.windowLow-1), legacySeconds(w.windowHigh+1))
	cur, err := openLegacyCursor(ctx, c, s.t.scanText(w.names != nil, conds, w.s.Oldest), append(args, more...))
	if err != nil {
		return nil, err
	}
	return &legacyArm{t: s.t, cur: cur}, nil
}

// advance goes to the arm's next row that is one, and in the window.
func (a *legacyArm) advance(w *legacyWalk) error {
	var vals [legacyCoreCount]driver.Value
	for {
		ok, err := a.cur.next(vals[:])
		if !ok || err != nil {
			a.has = false
			return err
		}
		if !a.row.scan(a.t, vals[:]) {
			continue
		}
		if a.row.at = a.row.ended; a.row.at >= w.windowLow && a.row.at <= w.windowHigh {
			a.has = true
			return nil
		}
	}
}

// sideHead is the next entry of the side that can match, nil at the end.
func (w *legacyWalk) sideHead(ctx context.Context) (*legacyEntry, error) {
	for {
		e, err := w.pos.head(ctx)
		if err != nil || e == nil {
			return nil, err
		}
		if (w.states == nil || slices.Contains(w.states, e.state)) && (w.hashes == nil || w.hashes[e.name]) {
			return e, nil
		}
		if out := w.outside(e.at); out {
			return nil, nil
		}
		w.pos.next()
	}
}

// outside reports whether the walk ends before a time.
func (w *legacyWalk) outside(at int64) bool {
	return w.s.Oldest && at > w.high || !w.s.Oldest && at < w.low
}
