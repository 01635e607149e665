package tsdb

import (
	"container/list"
	"context"
	"fmt"
	"strings"
	"sync"

	"daybook/blocks"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// maxSumBytes bounds what sums remember of sealed days.
const maxSumBytes = 32 << 20

// sumCache remembers sums over runs of sealed days. A sealed file never
// changes and no path is used twice, so that the paths of a run are all that a
// sum depends on. What was not asked for longest goes first.
type sumCache struct {
	mu    sync.Mutex
	at    map[string]*list.Element
	order *list.List // of cachedSum, the latest used first
	bytes int64
}

type cachedSum struct {
	key   string
	sum   remembered // never changed, unless it is not done
	upTo  *task.Key  // the last row in a sum that is not done
	bytes int64
}

// remembered is a *rollup.Set, of whole days or hours, *minuteSums, or tooMany.
type remembered interface{ Bytes() int64 }

// tooMany stands for what has more names than can be remembered apart: to find
// that out again, all of it was read for every question.
type tooMany struct{}

func (tooMany) Bytes() int64 { return 0 }

// further reports whether x knows more than another sum of the key.
func (x *cachedSum) further(than *cachedSum) bool {
	return than.upTo != nil && (x.upTo == nil || x.upTo.Compare(*than.upTo) > 0)
}

// get returns what is remembered, nil if nothing is.
func (c *sumCache) get(key string) remembered {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.at[key]
	if e == nil || e.Value.(*cachedSum).upTo != nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedSum).sum
}

// resume takes out a sum that somebody had no time to finish, to go on with it.
func (c *sumCache) resume(key string) (sum remembered, upTo *task.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.at[key]
	if e == nil || e.Value.(*cachedSum).upTo == nil {
		return nil, nil
	}
	x := c.remove(e)
	return x.sum, x.upTo
}

// remove forgets a sum. The caller holds mu.
func (c *sumCache) remove(e *list.Element) *cachedSum {
	x := c.order.Remove(e).(*cachedSum)
	delete(c.at, x.key)
	c.bytes -= x.bytes
	return x
}

// put remembers a sum; of one that is not done, upTo is the last row in it.
func (c *sumCache) put(key string, sum remembered, upTo *task.Key) {
	x := &cachedSum{key: key, sum: sum, upTo: upTo, bytes: sum.Bytes() + int64(len(key))}
	if x.bytes > maxSumBytes/2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at, c.order = map[string]*list.Element{}, list.New()
	}
	if e := c.at[key]; e != nil {
		if !x.further(e.Value.(*cachedSum)) {
			return
		}
		c.remove(e)
	}
	c.at[key] = c.order.PushFront(x)
	for c.bytes += x.bytes; c.bytes > maxSumBytes; {
		c.remove(c.order.Back())
	}
}

func (c *sumCache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// sealedDays adds the whole days of a range that are sealed and have no
// overlay, from runs of days that are powers of two: a month is a handful of
// them. It returns what is left of the range.
func (s *summation) sealedDays(ctx context.Context, view *blocks.View, r stretch) (left []stretch, ok bool, err error) {
	days := view.Days()
	if s.name != "" || s.width != rollup.Forever || len(days) == 0 {
		return []stretch{r}, true, nil
	}
	files, open := map[task.Day]string{}, map[task.Day]bool{}
	for _, d := range days {
		if d.Live != nil {
			open[d.Day] = true
		} else if !view.Leaves(d) {
			files[d.Day] = d.Sealed.Path()
		}
	}
	newest, oldest := days[0].Day, days[len(days)-1].Day
	at := r.from
	// The hours of a day that the range begins or ends in are asked for again
	// until the hour is over.
	for i, part := range []stretch{{r.from, min(r.to, ceil(r.from, rollup.Day))}, {max(r.from, rollup.Day.Start(r.to)), r.to}} {
		path := files[task.DayOf(part.from)]
		if path == "" || part.from >= part.to || part.to-part.from >= rollup.Day.Micros() || i == 1 && at == part.to {
			continue // the last: both are the same
		}
		key := fmt.Sprint(path, "\n", part.from, "\n", part.to)
		if ok, err := s.addPart(ctx, view, key, part); !ok || err != nil {
			return nil, ok, err
		}
		if part.from == r.from {
			at = part.to
		}
		if part.to == r.to {
			r.to = part.from
		}
	}
	for d := max(task.DayOf(ceil(r.from, rollup.Day)), oldest); d <= newest && d.End() <= r.to; {
		n := task.Day(1)
		for n*2 <= maxSumRun && d%(n*2) == 0 && (d+n*2-1).End() <= r.to {
			n *= 2
		}
		for n > 1 && anyOpen(open, d, n) {
			n /= 2
		}
		if !open[d] {
			if at < d.Start() {
				left = append(left, stretch{at, d.Start()})
			}
			if ok, err := s.addRun(ctx, view, files, d, n); !ok || err != nil {
				return nil, ok, err
			}
			at = (d + n).Start()
		}
		d += n
	}
	if at < r.to {
		left = append(left, stretch{at, r.to})
	}
	return left, true, nil
}

// maxSumRun is the longest run of days that is remembered as one sum.
const maxSumRun = 64

func anyOpen(open map[task.Day]bool, first, n task.Day) bool {
	for d := first; d < first+n; d++ {
		if open[d] {
			return true
		}
	}
	return false
}

// addRun adds the sum over a run; by its halves where it does not fit into one.
func (s *summation) addRun(ctx context.Context, view *blocks.View, files map[task.Day]string, first, n task.Day) (ok bool, err error) {
	set, ok, err := s.runSum(ctx, view, files, first, n)
	if !ok || err != nil {
		return ok, err
	}
	if set == nil && n > 1 {
		ok, err := s.addRun(ctx, view, files, first, n/2)
		if ok && err == nil {
			ok, err = s.addRun(ctx, view, files, first+n/2, n/2)
		}
		return ok, err
	}
	if set == nil {
		return s.read(ctx, view, wholeDay(first))
	}
	s.keepSet(view, runKey(files, first, n), set)
	s.addSet(set)
	return true, nil
}

// addPart adds some hours of a sealed day.
func (s *summation) addPart(ctx context.Context, view *blocks.View, key string, r stretch) (ok bool, err error) {
	set, ok := s.db.sums.get(key).(*rollup.Set)
	if !ok {
		q := blocks.RollupQuery{From: r.from, To: r.to, Width: rollup.Hour}
		if set, err = s.part(ctx, view, q); err != nil {
			return false, err
		}
		if set.Folded() > 0 {
			return s.read(ctx, view, q)
		}
		s.keepSet(view, key, set)
	}
	s.addSet(set)
	return true, nil
}

// partLimits bound what is summed up apart, to be remembered.
func (s *summation) partLimits() rollup.Limits {
	return rollup.Limits{Names: s.limits.Names, Bytes: min(s.limits.Bytes, maxSumBytes/2)}
}

// part sums up what one question to sealed days adds.
func (s *summation) part(ctx context.Context, view *blocks.View, q blocks.RollupQuery) (*rollup.Set, error) {
	part := s.apart()
	_, err := part.read(ctx, view, q)
	return part.added, err
}

// apart is a summation of sealed days alone, whose sum is to be remembered: live
// files, which could change meanwhile, are not in it.
func (s *summation) apart() *summation {
	return &summation{db: s.db, limits: s.limits, added: rollup.NewSet(rollup.Forever, s.partLimits()), gone: s.gone, visible: s.visible}
}

func wholeDay(d task.Day) blocks.RollupQuery {
	return blocks.RollupQuery{From: d.Start(), To: d.End(), Width: rollup.Hour, Whole: true}
}

func (s *summation) addSet(set *rollup.Set) {
	for k, x := range set.All() {
		s.added.Merge(k.Name, k.Bucket, x)
	}
	if !set.Rest().Empty() {
		s.added.Merge(rollup.Other, 0, set.Rest())
	}
}

// keepSet remembers a set, unless it has more names than it keeps apart.
func (s *summation) keepSet(view *blocks.View, key string, set *rollup.Set) {
	if set.Folded() == 0 && set.Rest().Empty() {
		s.keep(view, key, set, nil)
	}
}

// keep remembers a sum of all that its key names, which are files that the
// attempt did not leave out from the beginning.
func (s *summation) keep(view *blocks.View, key string, sum remembered, upTo *task.Key) {
	if !s.spoilt(view) {
		s.db.sums.put(key, sum, upTo)
	}
}

// runSum is the sum over a run of sealed days; nil if it has more names than a
// set keeps apart, which sums would fold in another way than their parts.
func (s *summation) runSum(ctx context.Context, view *blocks.View, files map[task.Day]string, first, n task.Day) (set *rollup.Set, ok bool, err error) {
	switch known := s.db.sums.get(runKey(files, first, n)).(type) {
	case *rollup.Set:
		return known, true, nil
	case tooMany:
		return nil, true, nil
	}
	for d := first; d < first+n; d++ {
		if _, many := s.db.sums.get(runKey(files, d, 1)).(tooMany); many {
			return nil, true, nil
		}
	}
	run := s.apart()
	if ok, err := run.readRun(ctx, view, files, first, n); !ok || err != nil {
		return nil, ok, err
	}
	if run.added.Folded() > 0 || !run.added.Rest().Empty() {
		s.keep(view, runKey(files, first, n), tooMany{}, nil)
		return nil, true, nil
	}
	return run.added, true, nil
}

// readRun adds a run of sealed days: what is remembered of it, and the files of
// the rest, into one set. With a set for each day and each half of the run, merged
// in turn, the first summary of 30 days took 205 ms instead of 125.
func (s *summation) readRun(ctx context.Context, view *blocks.View, files map[task.Day]string, first, n task.Day) (ok bool, err error) {
	if set, ok := s.db.sums.get(runKey(files, first, n)).(*rollup.Set); ok {
		s.addSet(set)
		return true, s.fits(s.added)
	}
	if n == 1 {
		return s.read(ctx, view, wholeDay(first))
	}
	// What has too many names already ends here: its halves are tried one by one.
	if ok, err := s.readRun(ctx, view, files, first, n/2); !ok || err != nil || s.added.Folded() > 0 {
		return ok, err
	}
	return s.readRun(ctx, view, files, first+n/2, n/2)
}

func runKey(files map[task.Day]string, first, n task.Day) string {
	var paths []string
	for d := first; d < first+n; d++ {
		if path := files[d]; path != "" {
			paths = append(paths, path)
		}
	}
	return strings.Join(paths, "\n")
}
