package blocks

import (
	"context"
	"errors"
	"slices"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

const (
	// A fill is what is read between two times the caller is served: it bounds
	// the memory of a query and how long it holds a read transaction.
	firstFillRows = 64
	fillRows      = 256
	fillBytes     = 1 << 20
	// seenRows bounds the memory of which ids a Select has handed over.
	seenRows = 1 << 16
)

// Select says which rows are wanted, and in which order.
type Select struct {
	Filter  *task.Filter // nil is all
	Text    *text.Query  // what has to be in the row; nil is anything
	Oldest  bool         // ascending order; default is newest first
	After   *task.Key    // only rows behind this place of the order
	Limit   int          // rows at most; 0 is all
	Details bool         // with args, kwargs, result, exception message and traceback
	Sealed  bool         // the rows of sealed files, also those that an overlay hides, and no others
	// Skip, if not nil, hides ids: those of which the head knows more.
	Skip func(id string, hash uint64) bool
}

// Select calls fn for every row that matches, in the order of task.Key, each
// task_id once. The Invocation is valid until fn returns; false ends the
// select. No transaction is open and no connection is taken while fn runs.
//
// Files that cannot be read are left out and named by Unreadable. The error is
// fn's, or that of ctx, after fn has had the rows that were found in time.
func (v *View) Select(ctx context.Context, s Select, fn func(*task.Invocation) (bool, error)) error {
	if s.Filter == nil {
		s.Filter = &task.Filter{}
	}
	if s.Filter.TaskID != "" {
		return v.selectID(ctx, s, fn)
	}
	w := newWalk(v, s)
	var err error
	if w.hide, err = v.superseded(ctx); err != nil {
		return err
	}
	for given := 0; ; {
		failed := w.fill(ctx) // with the rows that were read before
		for i := range w.rows {
			ok, err := fn(&w.rows[i])
			if err != nil || !ok {
				return err
			}
			if given++; given == s.Limit {
				return nil
			}
		}
		if failed != nil || len(w.days) == 0 {
			return failed
		}
	}
}

// walk goes through the days of a view in order.
type walk struct {
	v    *View
	s    Select
	days []DayFiles // still to be read, in order
	hide map[task.Day]map[string]bool
	at   *task.Key           // the last row read, at first Select.After
	seen map[string]struct{} // ids read: a row that is moved meanwhile does not come twice
	want int                 // rows of this fill
	rows []task.Invocation
	size int64
	left int // how much this fill may still look at

	finders map[string]*finder // of the files of the day under way, by path
}

func newWalk(v *View, s Select) *walk {
	w := &walk{v: v, s: s, at: s.After, seen: map[string]struct{}{}, want: firstFillRows}
	if s.Limit > 0 {
		w.want = min(s.Limit, fillRows)
	}
	for _, d := range v.gen.days {
		if w.span(d.Day).nonEmpty() {
			w.days = append(w.days, d)
		}
	}
	if s.Oldest {
		slices.Reverse(w.days)
	}
	return w
}

// span is the range of keys of a day that the range of time and the cursor
// leave. A displaced row can stand behind the upper end that the cursor alone
// would give: the whole microsecond stays in, and open narrows it.
func (w *walk) span(day task.Day) span {
	from, to := min(max(day.Start(), w.s.Filter.From), day.End()), day.End()
	if w.s.Filter.To != 0 {
		to = max(min(to, w.s.Filter.To), day.Start())
	}
	keys := span{firstKey(day, from), firstKey(day, to)}
	if w.at == nil {
		return keys
	}
	switch {
	case w.s.Oldest && w.at.At >= day.Start() && w.at.At < day.End():
		keys.low = max(keys.low, naturalKey(day, *w.at))
	case w.s.Oldest && w.at.At >= day.End(), !w.s.Oldest && w.at.At < day.Start():
		keys.high = keys.low
	case !w.s.Oldest && w.at.At < day.End():
		keys.high = min(keys.high, firstKey(day, w.at.At+1))
	}
	return keys
}

func (s span) nonEmpty() bool { return s.low < s.high }

// fill reads the next rows. A file that fails is left out of the view, and its
// day read again without it.
func (w *walk) fill(ctx context.Context) error {
	clear(w.rows)
	w.rows, w.size, w.left = w.rows[:0], 0, w.v.catalog.effort
	for len(w.days) > 0 && !w.full() {
		d, ok := w.v.readable(w.days[0])
		if w.s.Sealed {
			d.Live, ok = nil, d.Sealed != nil
		}
		if !ok {
			w.days = w.days[1:]
			continue
		}
		start, size, at := len(w.rows), w.size, w.at
		ended, err := w.day(ctx, d)
		if err != nil {
			if !w.v.leaveOut(err) {
				return err
			}
			for i := range w.rows[start:] {
				delete(w.seen, w.rows[start+i].TaskID)
			}
			w.rows, w.size, w.at = w.rows[:start], size, at
			w.finders = nil
			continue // readable leaves the file out now
		}
		if ended {
			w.days, w.finders = w.days[1:], nil
		}
	}
	w.want = fillRows
	return nil
}

func (w *walk) full() bool { return len(w.rows) >= w.want || w.size >= fillBytes || w.left <= 0 }

// day reads rows of one day until the fill is full, in one transaction. It
// reports whether the day is at its end.
func (w *walk) day(ctx context.Context, d DayFiles) (ended bool, err error) {
	pool := w.v.catalog.pool
	s, err := pool.acquire(ctx, d.attachments()...)
	if err != nil {
		return false, err
	}
	ended, err = w.read(ctx, s, d)
	var fe *fileError
	if d.Sealed != nil && d.Live != nil && errors.As(err, &fe) && fe.path == d.Sealed.Path() {
		err = w.overlayOrSealed(ctx, d, err)
	}
	pool.release(s, err)
	return ended, err
}

// overlayOrSealed finds out whether it was the overlay's mask that failed a
// scan of the sealed rows.
func (w *walk) overlayOrSealed(ctx context.Context, d DayFiles, failed error) error {
	pool := w.v.catalog.pool
	s, err := pool.acquire(ctx, DayFiles{Live: d.Live}.attachments()...)
	if err == nil {
		_, err = resolver{s.c, ""}.ids(ctx, "SELECT count(*) FROM "+s.schema(d.Live.Path())+".mask")
		pool.release(s, err)
	}
	if err != nil {
		return blame(ctx, d.Live.Path(), err)
	}
	return failed
}

// read is day with a session.
func (w *walk) read(ctx context.Context, s *session, d DayFiles) (ended bool, err error) {
	if err := s.begin(); err != nil {
		return false, err
	}
	return w.readOn(ctx, s, d)
}

// readOn is read in the transaction that is open.
func (w *walk) readOn(ctx context.Context, s *session, d DayFiles) (ended bool, err error) {
	var files []*fileRows
	defer func() {
		for _, f := range files {
			f.close()
		}
	}()
	var over *overlay
	if d.Sealed != nil && d.Live != nil {
		if over, err = openOverlay(ctx, d.Live, s.c, s.schema(d.Live.Path())); err != nil {
			return false, blame(ctx, d.Live.Path(), err)
		}
	}
	for _, a := range d.attachments() {
		f := &fileRows{c: s.c, day: d.Day, path: a.path, schema: s.schema(a.path), oldest: w.s.Oldest}
		files = append(files, f)
		if d.Live != nil && a.path == d.Live.Path() {
			f.named = d.Live.named
			err = w.open(ctx, f, nil, w.finder(d, a.path, true))
		} else {
			f.named = d.Sealed.named
			err = w.open(ctx, f, over, w.finder(d, a.path, false))
		}
		if err != nil {
			return false, blame(ctx, f.path, err)
		}
	}
	for !w.full() {
		it, err := w.first(ctx, files)
		if errors.Is(err, errPause) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if it == nil {
			return true, nil
		}
		if err := it.complete(ctx, w.s.Details); err != nil {
			return false, blame(ctx, it.from.path, err)
		}
		key := it.key
		w.at = &key
		if len(w.seen) < seenRows {
			w.seen[key.ID] = struct{}{}
		}
		w.rows = append(w.rows, it.inv)
		w.size += it.inv.Size()
		it.from.take()
	}
	return false, nil
}

// finder is how far the walk has come in a file of a day; nil if it looks for
// nothing there.
func (w *walk) finder(d DayFiles, path string, live bool) *finder {
	if !w.s.finds() {
		return nil
	}
	if w.finders == nil {
		w.finders = map[string]*finder{}
	}
	if w.finders[path] == nil {
		w.finders[path] = newFinder(&w.s, d, live)
	}
	return w.finders[path]
}

// open starts the scans of one file; over is the overlay that it lies under.
func (w *walk) open(ctx context.Context, f *fileRows, over *overlay, find *finder) error {
	r, err := resolver{f.c, f.schema}.resolve(ctx, w.s.Filter, f.day)
	if err != nil || r.none {
		return err
	}
	keys := w.span(f.day)
	if at := w.at; at != nil && !w.s.Oldest && task.DayOf(at.At) == f.day {
		end, err := runEnd(ctx, f.c, f.schema, naturalKey(f.day, *at))
		if err != nil {
			return err
		}
		keys.high = min(keys.high, end)
	}
	mask := ""
	if over != nil {
		mask = over.schema
	}
	f.wanted = w.wanted(ctx, f.day, over)
	if find != nil {
		return find.open(ctx, f, &r, keys, mask, &w.left)
	}
	arms, rest := r.arms()
	return f.open(ctx, arms, rest, keys, mask)
}

// wanted says which rows of a file are shown, of those that match.
func (w *walk) wanted(ctx context.Context, day task.Day, over *overlay) func(*task.Key) (bool, error) {
	hide, at := w.hide[day], w.at
	return func(k *task.Key) (bool, error) {
		if at != nil && !behind(at, k, w.s.Oldest) || hide[k.ID] {
			return false, nil
		}
		if _, ok := w.seen[k.ID]; ok || w.s.Skip != nil && w.s.Skip(k.ID, k.Hash) {
			return false, nil
		}
		if over == nil {
			return true, nil
		}
		replaced, err := over.has(ctx, k.Hash, k.ID)
		return !replaced, err
	}
}

// first is the row that comes next of a day's files, nil at the end.
func (w *walk) first(ctx context.Context, files []*fileRows) (best *item, err error) {
	for _, f := range files {
		it, err := f.peek()
		if errors.Is(err, errPause) {
			return nil, err
		}
		if err != nil {
			return nil, blame(ctx, f.path, err)
		}
		if it != nil && (best == nil || it.key.Compare(best.key) < 0 == w.s.Oldest) {
			best = it
		}
	}
	return best, nil
}
