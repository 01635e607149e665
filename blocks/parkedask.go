package blocks

import (
	"context"
	"math"
	"slices"
	"strings"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// ParkedSum asks what is parked in ranges of row time.
type ParkedSum struct {
	Within    []ParkedRange      // disjoint
	Name      string             // of one task; empty asks for all
	Minutes   bool               // hours are too coarse
	Elsewhere []*task.Invocation // not these ids: see Open
	Rollup    func(name string, at int64, r *rollup.Rollup)
	Row       func(v *task.Invocation)
	// Open, if not nil, is told what Parked.Open tells: what is also elsewhere is read once
	// for both.
	Open func(name string, n int64)
}

// ParkedRange is half-open, in microseconds.
type ParkedRange struct{ From, To int64 }

// Sum calls q.Rollup with what is counted by hour or minute, and q.Row with the rest, row
// by row: of minutes of which only a part is asked for, of older hours of which only a
// part is, and where there was no room. What is parked or leaves meanwhile may be seen or not.
func (p *Parked) Sum(ctx context.Context, q ParkedSum) error {
	rows, open := q.Within, q.Open != nil
	if !p.changes {
		err := p.counted(ctx, q.Elsewhere, func(s *parkedSums) (row func(*task.Invocation), end func()) {
			sumRow, sumEnd := s.sum(&q, func(left []ParkedRange) { rows = left })
			if q.Open == nil {
				return sumRow, sumEnd
			}
			openRow, openEnd := s.open(q.Name, q.Open)
			open = openRow == nil
			switch {
			case openRow == nil:
				return sumRow, sumEnd
			case sumRow == nil:
				return openRow, openEnd
			}
			return func(v *task.Invocation) { sumRow(v); openRow(v) }, func() { sumEnd(); openEnd() }
		})
		if err != nil {
			return err
		}
	}
	if open {
		if err := p.Open(ctx, q.Name, q.Elsewhere, q.Open); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	known := idsOf(q.Elsewhere)
	for _, r := range rows {
		err := p.Scan(ctx, &task.Key{At: r.From - 1}, true, func(v *task.Invocation) (bool, error) {
			at := v.RowTime()
			if at >= r.From && at < r.To && !known[v.TaskID] && (q.Name == "" || v.TaskName == q.Name) {
				q.Row(v)
			}
			return at < r.To, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pick is a part of a question that counts answer.
type pick struct {
	from, to int64
	width    rollup.Width
	counts   *parkedCounts
}

// picks finds what is counted of ranges, and what is left of them.
func (s *parkedSums) picks(q *ParkedSum) (picked []pick, left []ParkedRange) {
	for start, h := range s.hours {
		for _, r := range q.Within {
			r = ParkedRange{max(r.From, h.first), min(r.To, h.last+1)}
			if r.From >= r.To {
				continue
			}
			if !q.Minutes && h.hour.of != nil && r.From == h.first && r.To == h.last+1 {
				picked = append(picked, pick{start, start + rollup.Hour.Micros(), rollup.Hour, &h.hour})
				continue
			}
			// A minute is whole also if all of its rows are asked for.
			from, to := rollup.Minute.Start(r.From), rollup.Minute.Start(r.To-1)+rollup.Minute.Micros()
			if r.From != from && r.From != h.first {
				from += rollup.Minute.Micros()
			}
			if r.To != to && r.To != h.last+1 {
				to -= rollup.Minute.Micros()
			}
			if h.minutes.of == nil || from >= to {
				left = append(left, r)
				continue
			}
			picked = append(picked, pick{from, to, rollup.Minute, &h.minutes})
			if r.From < from {
				left = append(left, ParkedRange{r.From, from})
			}
			if to < r.To {
				left = append(left, ParkedRange{to, r.To})
			}
		}
	}
	return picked, left
}

// sum is Sum of what is counted; it gives what is left.
func (s *parkedSums) sum(q *ParkedSum, give func(left []ParkedRange)) (row func(*task.Invocation), end func()) {
	if s.blind || q.Name != "" && s.other > 0 && (s.names[q.Name] == 0 || q.Name == rollup.Other) {
		give(q.Within)
		return nil, nil
	}
	picked, left := s.picks(q)
	if len(picked) == 0 {
		give(left)
		return nil, nil
	}
	gone := map[pickedPlace]*rollup.Rollup{}
	return func(v *task.Invocation) {
			at := v.RowTime()
			for _, x := range picked {
				if at >= x.from && at < x.to {
					rollupAt(gone, pickedPlace{x.counts, parkedPlace{s.name(v.TaskName), x.width.Start(at)}}).Add(v)
				}
			}
		}, func() {
			give(append(left, s.tell(q, picked, gone)...))
		}
}

// pickedPlace is a place in counts that a question has picked.
type pickedPlace struct {
	of *parkedCounts
	parkedPlace
}

// tell gives a question what is picked, without what is gone; it returns what is left.
func (s *parkedSums) tell(q *ParkedSum, picked []pick, gone map[pickedPlace]*rollup.Rollup) (left []ParkedRange) {
	rest := map[pickedPlace]*rollup.Rollup{}
	for k, x := range gone {
		var r rollup.Rollup
		if known := k.of.of[k.parkedPlace]; known != nil {
			r = known.Clone()
		}
		if r.Subtract(x) != nil { // see take
			s.letGo(k.of)
			continue
		}
		rest[k] = &r
	}
	for _, x := range picked {
		if x.counts.of == nil {
			left = append(left, ParkedRange{x.from, x.to})
			continue
		}
		for k, r := range x.counts.of {
			if k.at < x.from || k.at >= x.to || q.Name != "" && k.name != q.Name {
				continue
			}
			if less := rest[pickedPlace{x.counts, k}]; less != nil {
				r = less
			}
			if !r.Empty() {
				q.Rollup(k.name, k.at, r.ByBins())
			}
		}
	}
	return left
}

// Counted calls fn with how many invocations of which states are parked, by task and
// hour, without those that are also elsewhere: see Open. exact is false, and what was
// told worth nothing, where some are not counted, or not by name.
func (p *Parked) Counted(ctx context.Context, elsewhere []*task.Invocation, fn func(name string, c *rollup.Counts)) (exact bool, err error) {
	if p.changes {
		return false, nil
	}
	q := ParkedSum{Within: []ParkedRange{{math.MinInt64, math.MaxInt64}}, Elsewhere: elsewhere,
		Rollup: func(name string, _ int64, r *rollup.Rollup) { fn(name, &r.Counts) }}
	err = p.counted(ctx, elsewhere, func(s *parkedSums) (row func(*task.Invocation), end func()) {
		if s.blind || s.other > 0 {
			exact = false
			return nil, nil
		}
		return s.sum(&q, func(left []ParkedRange) { exact = len(left) == 0 })
	})
	return exact, err
}

// Lacks reports that nothing is parked of tasks, which are given as in a task.Filter.
// false is not known: there are names beyond the bound, not all has been counted, or
// something has. A listing of a task that does not wait need not look at what may be a
// million rows of others.
func (p *Parked) Lacks(ctx context.Context, tasks []string) bool {
	lacks := false
	if p.changes || len(tasks) == 0 {
		return lacks
	}
	_ = p.with(ctx, func(*conn) error { // who reads the rows meets the error
		s := &p.sums
		lacks = s.done && !s.blind && s.other == 0 && !slices.ContainsFunc(tasks, s.has)
		return nil
	})
	return lacks
}

// has reports whether a task of a filter is counted apart.
func (s *parkedSums) has(pattern string) bool {
	if !strings.HasSuffix(pattern, "*") {
		return s.names[pattern] > 0
	}
	for name := range s.names {
		if task.MatchName(pattern, name) {
			return true
		}
	}
	return false
}
