package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// CountBy are what invocations can be counted by.
var CountBy = map[string]func(*task.Invocation) string{
	"task_name":      func(v *task.Invocation) string { return v.TaskName },
	"state":          func(v *task.Invocation) string { return v.State.String() },
	"worker":         func(v *task.Invocation) string { return v.Worker },
	"worker_group":   func(v *task.Invocation) string { return task.WorkerGroup(v.Worker) },
	"queue":          func(v *task.Invocation) string { return v.Queue },
	"exception_type": func(v *task.Invocation) string { return v.Outcome.ExceptionType },
}

// maxGroups bounds what is counted apart; the rest is counted as rollup.Other.
const maxGroups = 10_000

// maxCells bounds what is counted apart in all points together.
var maxCells = 200_000

// maxSumNames is of how many names rollups are read one after the other; of
// more, rows are counted.
const maxSumNames = 50

// CountQuery asks how many invocations match.
type CountQuery struct {
	task.Filter
	Text *text.Query  // as in Query
	By   string       // a key of CountBy; "" is all together
	Step rollup.Width // over time; rollup.Forever is not
}

// Count is the answer to a CountQuery.
type Count struct {
	Total    int64
	Groups   []GroupCount // the most frequent first; nil without By
	Points   []CountPoint // in order, empty ones included; nil without Step
	Complete bool         // false if the query's time ran out, or memory to count everything apart
	Coverage Coverage
}

// GroupCount is one group of a Count.
type GroupCount struct {
	Key   string
	Count int64
}

// CountPoint is one step of a Count.
type CountPoint struct {
	At     int64 // its first microsecond
	Total  int64
	Groups []GroupCount
}

// Count counts, from rollups where the filter allows, else from rows. If ctx ends
// it answers what it has counted, not Complete, or with the error of ctx if that
// is nothing. It returns ErrNotReady, ErrClosed, or what is wrong with By or Step.
func (db *DB) Count(ctx context.Context, q CountQuery) (Count, error) {
	if err := db.usable(); err != nil {
		return Count{}, err
	}
	defer db.metrics.timed("count")()
	t, err := newTally(q)
	if err != nil {
		return Count{}, err
	}
	var unreadable []string
	if q.rolls() {
		unreadable, err = db.countSums(ctx, q, t)
	} else {
		var steady bool
		steady, err = db.steadily(ctx, func() (err error) {
			if t, err = newTally(q); err == nil {
				unreadable, err = db.countRows(ctx, q, t)
			}
			return err
		})
		if !steady {
			unreadable = append(unreadable, inexact)
		}
	}
	if err != nil && (ctx.Err() == nil || t.all.total == 0) {
		return Count{}, err
	}
	out := t.answer()
	out.Complete = err == nil && !t.folded
	out.Coverage = db.coverage(&q.Filter, unreadable)
	return out, nil
}

// countRows adds to a tally what matches.
func (db *DB) countRows(ctx context.Context, q CountQuery, t *countTally) (unreadable []string, err error) {
	if q.openOnly() {
		view := db.catalog.View()
		defer view.Release()
		if exact, err := db.countOpen(ctx, t); exact || err != nil {
			return db.leftOut(view), err
		}
	}
	return db.walk(ctx, Query{Filter: q.Filter, Text: q.Text}, anyOrder, func(v *task.Invocation) (bool, error) {
		t.add(v)
		return true, nil
	})
}

// countSums is countRows from rollups.
func (db *DB) countSums(ctx context.Context, q CountQuery, t *countTally) (unreadable []string, err error) {
	to := q.To
	if to == 0 {
		to = task.MaxMicros + 1
	}
	parts := []sumOf{{together: q.By != "task_name"}}
	if len(q.TaskNames) > 0 {
		parts = nil
		for _, name := range slices.Compact(slices.Sorted(slices.Values(q.TaskNames))) {
			parts = append(parts, sumOf{name: name})
		}
	}
	for _, part := range parts {
		more, err := db.sum(ctx, q.From, to, q.Step, part, rollup.OnlyCounts, t.addSet)
		if err != nil {
			return unreadable, err
		}
		unreadable = append(unreadable, more...)
	}
	return unreadable, nil
}

// rolls reports whether rollups answer the query: they know time, name and state.
func (q *CountQuery) rolls() bool {
	f := q.Filter
	f.From, f.To = 0, 0
	f.States = nil
	if len(f.TaskNames) <= maxSumNames && !slices.ContainsFunc(f.TaskNames, func(name string) bool { return name == "" || strings.HasSuffix(name, "*") }) {
		f.TaskNames = nil
	}
	plain := f.TaskID == "" && f.TaskNames == nil && f.Workers == nil && f.Queues == nil && f.WorkerGroup == "" &&
		f.ExceptionType == "" && f.RootID == "" && !f.HasMinRuntime && !f.HasMaxRuntime && f.MinRetries == 0 && !f.Open && f.OpenBefore == 0
	return plain && q.Text == nil && (q.By == "" || q.By == "task_name" || q.By == "state")
}

// countTally counts.
type countTally struct {
	q      CountQuery
	by     func(*task.Invocation) string
	all    groups
	series []groups // by step, from first
	first  int64
	cells  int  // groups in series
	folded bool // not all could be counted in its step and group
}

type groups struct {
	total  int64
	counts map[string]int64
}

func (g *groups) add(key string, n int64) {
	g.total += n
	if g.counts == nil {
		g.counts = map[string]int64{}
	}
	if _, ok := g.counts[key]; !ok && len(g.counts) >= maxGroups {
		key = rollup.Other
	}
	g.counts[key] += n
}

func newTally(q CountQuery) (*countTally, error) {
	t := &countTally{q: q, by: CountBy[q.By]}
	if q.By == "" {
		t.by = func(*task.Invocation) string { return "" }
	}
	if t.by == nil {
		return nil, fmt.Errorf("cannot count by %q", q.By)
	}
	if q.Step != rollup.Forever {
		s, err := rollup.NewSeries(q.From, q.To, q.Step)
		if err != nil {
			return nil, err
		}
		t.series, t.first = make([]groups, len(s.Points())), q.Step.Start(q.From)
	}
	return t, nil
}

func (t *countTally) add(v *task.Invocation) { t.put(v.RowTime(), t.by(v), 1) }

func (t *countTally) put(at int64, key string, n int64) {
	t.all.add(key, n)
	if t.series != nil {
		if i := (max(at, t.q.From) - t.first) / t.q.Step.Micros(); i < int64(len(t.series)) {
			g := &t.series[i]
			if _, ok := g.counts[key]; !ok {
				if t.cells >= maxCells {
					key, t.folded = rollup.Other, true
				}
				t.cells++
			}
			g.add(key, n)
		}
	}
}

// addSet takes counts from rollups.
func (t *countTally) addSet(set *rollup.Set) {
	for k, r := range set.All() {
		total := int64(0)
		for s, n := range r.States {
			if n == 0 || t.q.States != nil && !slices.Contains(t.q.States, task.State(s)) {
				continue
			}
			if total += int64(n); t.q.By == "state" {
				t.put(k.Bucket, task.State(s).String(), int64(n))
			}
		}
		if total > 0 && t.q.By != "state" {
			key := ""
			if t.q.By == "task_name" {
				key = k.Name
			}
			t.put(k.Bucket, key, total)
		}
	}
	t.folded = t.folded || set.Full() // in the step, but not by name
	rest := int64(0)                  // of no step and name any more
	for s, n := range set.Rest().States {
		if t.q.States == nil || slices.Contains(t.q.States, task.State(s)) {
			rest += int64(n)
		}
	}
	if rest > 0 {
		t.all.add(rollup.Other, rest)
	}
}

func (t *countTally) answer() Count {
	out := Count{Total: t.all.total, Groups: t.groups(&t.all)}
	for i := range t.series {
		out.Points = append(out.Points, CountPoint{At: t.first + int64(i)*t.q.Step.Micros(), Total: t.series[i].total, Groups: t.groups(&t.series[i])})
	}
	return out
}

func (t *countTally) groups(g *groups) []GroupCount {
	if t.q.By == "" {
		return nil
	}
	list := make([]GroupCount, 0, len(g.counts))
	for key, n := range g.counts {
		if n > 0 {
			list = append(list, GroupCount{key, n})
		}
	}
	slices.SortFunc(list, func(a, b GroupCount) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key)) })
	return list
}
