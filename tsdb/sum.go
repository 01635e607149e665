package tsdb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"daybook/blocks"
	"daybook/head"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

const (
	// sumTries is how often a sum is tried; the last time it is told as it is.
	sumTries = 6
	// freeTries is how often a query is tried before rows are kept in their
	// places for it, and a sum before the cutter is paused for it.
	freeTries = 2
	// sumPause is how long the cutter is paused at most: shorter than clients
	// wait for it before records are dropped.
	sumPause = 500 * time.Millisecond
)

// sumOf says of which tasks a sum is: of one by its name, or of all; of these
// together, where it does not matter which. ended says that what is open does not
// matter, and need not be in the sum.
type sumOf struct {
	name     string
	together bool
	ended    bool
	open     *openNames
}

// openNames is how many invocations of each task are open; nil if a sum had no need to find
// out. A sum that reads which of them are parked and in the head, too, tells it on the way.
type openNames map[string]int64

// Most sums take less than the small limits. One that does not is begun again
// with the large ones, when no other large one is under way: that bounds the
// memory of all together.
var (
	smallSum = rollup.Limits{Names: rollup.DefaultLimits.Names, Bytes: 4 << 20}
	largeSum = rollup.DefaultLimits
)

// errLarge says that a sum takes more than the small limits.
var errLarge = errors.New("a large sum")

// sum counts every invocation whose row time is in a range once, in its latest
// state: from the stored rollups where they go, from rows at the edges, from
// the head what is not cut yet. It gives the result to use, which does not keep
// it, and returns the names of files that could not be read.
func (db *DB) sum(ctx context.Context, from, to int64, width rollup.Width, of sumOf, depth rollup.Depth, use func(*rollup.Set)) (unreadable []string, err error) {
	s := summation{db: db, from: from, to: to, width: width, name: of.name, flat: of.together, ended: of.ended, open: of.open, depth: depth, limits: smallSum}
	set, unreadable, err := s.result(ctx)
	if errors.Is(err, errLarge) {
		select {
		case db.large <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		defer func() { <-db.large }()
		s.limits = largeSum
		set, unreadable, err = s.result(ctx)
	}
	if err != nil {
		return nil, err
	}
	use(set)
	return unreadable, nil
}

// result tries until cuts have not come in between: at first beside them, then
// with the cutter paused.
func (s summation) result(ctx context.Context) (set *rollup.Set, unreadable []string, err error) {
	s.left = blocks.LeftOut{} // by the attempts so far
	for try := 1; try <= sumTries; try++ {
		s.last = try == sumTries
		moves := s.db.catalog.Moves()
		for known := -1; known != len(s.left); {
			// A file that fails may have been counted in part, and what is taken
			// out for it with it: all is counted again without it, which is no
			// try, as it does not depend on cuts.
			known = len(s.left)
			attempt := s
			ok, err := attempt.between(ctx, try > freeTries)
			if err != nil {
				return nil, nil, err
			}
			if ok && known == len(s.left) {
				return attempt.added, attempt.unreadable, nil
			}
		}
		if try > freeTries && s.db.catalog.Moves() == moves {
			try = max(try, sumTries-1) // no row has moved: what does not agree will not
		}
	}
	return nil, nil, errors.New("the last attempt at a sum gave up")
}

// between makes the attempt, between two cuts if it is to be quiet.
func (s *summation) between(ctx context.Context, quiet bool) (ok bool, err error) {
	if !quiet {
		return s.run(ctx, func() {})
	}
	release, err := s.db.compact.HoldMoves(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	resume, err := s.db.compact.Pause(ctx, sumPause)
	if err != nil {
		return false, err
	}
	defer resume()
	return s.run(ctx, resume)
}

// inexact stands among the names of unreadable files if an answer may count what
// moved meanwhile twice or not at all: see Coverage.Inexact.
const inexact = ""

// stretch is a half-open range of time, in microseconds.
type stretch struct{ from, to int64 }

func (s stretch) has(us int64) bool { return us >= s.from && us < s.to }

// summation is one attempt at a sum. Rollups cannot be told apart by task_id,
// so that an invocation that is being cut could be counted twice or not at all:
// the attempt compares what the head says of cuts under way with the cut ids
// that the files know, and fails where that does not settle it.
type summation struct {
	db       *DB
	from, to int64
	width    rollup.Width
	name     string
	flat     bool // the names in the sum do not matter
	ended    bool // nor does what is open
	open     *openNames
	depth    rollup.Depth
	limits   rollup.Limits
	last     bool           // it is told as it is
	left     blocks.LeftOut // of the sum so far; what the attempt leaves out is added

	added, gone *rollup.Set
	account     head.Account
	rolled      []stretch // counted from rollups; the head's part is added
	rows        []stretch // counted row by row, head included
	visible     map[task.Day]blocks.VisibleCuts
	firstWaits  map[task.Day]bool // whose rollups count waits by the first rule
	files       []*legacyFile
	unreadable  []string
}

// run makes the attempt; ok false is to be tried again. It calls resume when no
// cut of rows that are new can disturb it any more.
func (s *summation) run(ctx context.Context, resume func()) (ok bool, err error) {
	s.added, s.gone = rollup.NewSet(s.width, s.limits), rollup.NewSet(s.width, s.limits)
	if s.open != nil {
		*s.open = nil // of an attempt before
	}
	s.added.Only(s.depth)
	s.gone.Only(s.depth)
	if s.flat {
		s.added.Flat()
		s.gone.Flat()
	}
	s.visible, s.firstWaits = map[task.Day]blocks.VisibleCuts{}, map[task.Day]bool{}
	moves := s.db.catalog.Moves()
	s.account = s.db.head.Account()
	view := s.db.catalog.View()
	defer view.Release()
	for _, d := range view.Days() {
		if d.FirstWaitRule() {
			s.firstWaits[d.Day] = true
		}
	}
	view.LeaveOut(s.left)
	defer func() { maps.Copy(s.left, view.LeftOut()) }()
	var done func()
	s.files, done = s.db.legacy.use()
	defer done()
	if slices.ContainsFunc(s.account.Active, func(c head.ActiveCut) bool { return c.Moves }) && s.unsure() {
		return false, nil
	}
	if ok, err := s.stored(ctx, view); !ok || err != nil {
		return false, err
	}
	resume()
	if s.spoilt(view) {
		return false, nil
	}
	if ok, err := s.settle(ctx, view); !ok || err != nil {
		return false, err
	}
	if err := s.memory(ctx); err != nil {
		return false, err
	}
	if err := s.superseded(ctx, view); err != nil {
		return false, err
	}
	if ok, err := s.legacy(ctx, view); !ok || err != nil {
		return false, err
	}
	for _, r := range s.rows {
		q := Query{Filter: task.Filter{From: r.from, To: r.to}, Oldest: true}
		if s.name != "" {
			q.TaskNames = []string{s.name}
		}
		unreadable, err := s.db.walkIn(ctx, &s.account.Snapshot, view, s.files, q, anyOrder, func(v *task.Invocation) (bool, error) {
			if s.name == "" || v.TaskName == s.name { // a name may end in *
				s.added.Add(v)
			}
			return true, nil
		})
		if err != nil {
			return false, err
		}
		s.unreadable = append(s.unreadable, unreadable...)
	}
	s.unreadable = append(s.unreadable, s.db.leftOut(view)...)
	if s.db.catalog.Moves() != moves && s.unsure() {
		return false, nil
	}
	if err := s.fits(s.added, s.gone); err != nil {
		return false, err
	}
	return s.subtract()
}

// unsure is asked when a cut came in between. It reports whether the attempt
// ends there: the last one goes on, and tells.
func (s *summation) unsure() bool {
	if s.last {
		s.unreadable = append(s.unreadable, inexact)
	}
	return !s.last
}

// fits returns errLarge if sets take more than small sums may.
func (s *summation) fits(sets ...*rollup.Set) error {
	if s.limits != largeSum && slices.ContainsFunc(sets, (*rollup.Set).Full) {
		return errLarge
	}
	return nil
}

// spoilt reports whether a file has failed in this attempt, which is then to be
// repeated without it.
func (s *summation) spoilt(view *blocks.View) bool {
	for path := range view.LeftOut() {
		if s.left[path] == nil {
			return true
		}
	}
	return false
}

// stored reads the rollups: hours where whole ones are asked for, minutes in
// days that are still being written; what is left are rows.
func (s *summation) stored(ctx context.Context, view *blocks.View) (ok bool, err error) {
	hours := stretch{ceil(s.from, rollup.Hour), rollup.Hour.Start(s.to)}
	if s.width == rollup.Minute || hours.from >= hours.to {
		return s.fine(ctx, view, stretch{s.from, s.to})
	}
	whole := s.width == rollup.Day || s.width == rollup.Forever
	left, ok, err := s.sealedDays(ctx, view, hours)
	if !ok || err != nil {
		return false, err
	}
	for _, r := range left {
		if ok, err := s.read(ctx, view, blocks.RollupQuery{From: r.from, To: r.to, Width: rollup.Hour, Whole: whole, Name: s.name}); !ok || err != nil {
			return false, err
		}
	}
	s.rolled = append(s.rolled, hours)
	for _, edge := range []stretch{{s.from, hours.from}, {hours.to, s.to}} {
		if ok, err := s.fine(ctx, view, edge); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// ceil is the first start of a bucket at or after a time.
func ceil(us int64, w rollup.Width) int64 {
	at := w.Start(us)
	if at < us {
		at += w.Micros()
	}
	return at
}

// read adds stored rollups.
func (s *summation) read(ctx context.Context, view *blocks.View, q blocks.RollupQuery) (ok bool, err error) {
	seen, err := view.Rollups(ctx, q, func(p blocks.RollupPart) error {
		if p.Gone {
			return s.gone.MergeBinary(p.Name, p.At, p.Data)
		}
		return s.added.MergeBinary(p.Name, p.At, p.Data)
	})
	if errors.Is(err, blocks.ErrPartial) && ctx.Err() == nil {
		return true, nil // the attempt is spoilt: what else fails is found out first
	}
	for _, v := range seen {
		if before, twice := s.visible[v.Day]; twice && before.Last() != v.Last() && s.unsure() {
			return false, err // cut into between two readings
		}
		s.visible[v.Day] = v
	}
	if err == nil {
		err = s.fits(s.added, s.gone)
	}
	return true, err
}

// settle decides, of the cuts under way, which the files count already, and
// reports false if one began after the account was taken.
func (s *summation) settle(ctx context.Context, view *blocks.View) (ok bool, err error) {
	days, partly := map[task.Day]bool{}, map[task.Day]bool{}
	for _, d := range view.Days() {
		if view.Leaves(d) {
			partly[d.Day] = true
		} else {
			days[d.Day] = true
		}
	}
	counted := map[*task.Invocation]bool{}
	for d, v := range s.visible {
		if v.Last() >= s.account.NextCut && s.unsure() {
			return false, nil
		}
		for _, c := range s.account.Active {
			if c.Day != d || !v.Has(c.ID) {
				continue
			}
			for _, x := range c.Same {
				counted[x] = true
			}
			for _, x := range c.Changed {
				s.take(s.gone, x)
			}
		}
	}
	held := s.added.Batch()
	for at, v := range s.account.All() {
		if s.rolledAt(at) && !counted[v] && s.named(v) {
			held.Add(v)
		}
	}
	held.Flush()
	var ids []string
	for _, v := range s.account.Stored {
		switch d := v.Day(); {
		case days[d]: // the day may have expired
			s.take(s.gone, v)
		case partly[d]:
			ids = append(ids, v.TaskID)
		}
	}
	if len(ids) == 0 {
		return true, nil
	}
	// Of a day that is read in part, only what is in that part was counted.
	stored, err := view.Lookup(ctx, ids)
	for _, x := range stored {
		for i, d := range x.Where {
			if partly[d] {
				s.take(s.gone, &x.Rows[i])
			}
		}
	}
	return true, err
}

// take counts an invocation if its row time is in a stretch that rollups count.
func (s *summation) take(set *rollup.Set, v *task.Invocation) {
	if !s.named(v) || !s.rolledAt(v.RowTime()) {
		return
	}
	if set == s.gone { // as the day counted it
		v = blocks.Counted(v, s.firstWaits[v.Day()])
	}
	set.Add(v)
}

func (s *summation) named(v *task.Invocation) bool { return s.name == "" || v.TaskName == s.name }

// rolledAt reports whether a row time is in what rollups count.
func (s *summation) rolledAt(at int64) bool {
	return slices.ContainsFunc(s.rolled, func(r stretch) bool { return r.has(at) })
}

// memory adds the parked invocations that are not in the head.
func (s *summation) memory(ctx context.Context) error {
	parked := s.db.compact.Parked()
	if parked == nil || parked.Rows() == 0 || len(s.rolled) == 0 || s.ended {
		return nil
	}
	q := blocks.ParkedSum{Name: s.name, Minutes: s.width == rollup.Minute, Elsewhere: s.account.Slice(),
		Rollup: s.added.Merge, Row: func(v *task.Invocation) { s.take(s.added, v) }}
	for _, r := range s.rolled {
		q.Within = append(q.Within, blocks.ParkedRange{From: r.from, To: r.to})
	}
	if s.open != nil {
		open := openNames{}
		for _, v := range q.Elsewhere {
			if v.Open() && s.named(v) {
				open[v.TaskName]++
			}
		}
		q.Open = func(name string, n int64) { open[name] += n }
		*s.open = open
	}
	return parked.Sum(ctx, q)
}

// superseded takes out, of copied days, the rows that another day has taken
// over. Those of ids that the head holds are out already.
func (s *summation) superseded(ctx context.Context, view *blocks.View) error {
	rows, err := view.Superseded(ctx)
	for i := range rows {
		if !s.account.Holds(rows[i].TaskID) {
			s.take(s.gone, &rows[i])
		}
	}
	return err
}

// legacy counts what legacy files know in what rollups count of the days.
func (s *summation) legacy(ctx context.Context, view *blocks.View) (ok bool, err error) {
	for i, f := range s.files {
		for _, r := range s.rolled {
			sums, parts := f.parts(r, s.width)
			for _, p := range parts {
				if p.width == rollup.Minute {
					s.legacyRows(ctx, view, f, s.files[:i], p.stretch)
				} else if ok, err := s.legacySums(ctx, view, f, s.files[:i], sums, p); !ok || err != nil {
					return ok, err
				}
			}
		}
	}
	return true, ctx.Err()
}

// legacyRows counts the rows of a legacy file.
func (s *summation) legacyRows(ctx context.Context, view *blocks.View, f *legacyFile, newer []*legacyFile, r stretch) {
	q := Query{Filter: task.Filter{From: r.from, To: r.to}, Oldest: true}
	if s.name != "" {
		q.TaskNames = []string{s.name}
	}
	from := s.db.openLegacySource(ctx, f, newer, &q, func(id string) bool {
		return s.account.Holds(id) || isParked(ctx, s.db.compact.Parked(), id) || inDays(ctx, view, id)
	})
	if from == nil {
		return
	}
	defer from.stop()
	for from.advance(); from.row != nil; from.advance() {
		if s.name == "" || from.row.TaskName == s.name {
			s.added.Add(from.row)
		}
	}
	s.unreadable = append(s.unreadable, failed([]*legacySource{from})...)
}
