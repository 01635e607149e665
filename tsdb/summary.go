package tsdb

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// topNames is how many workers, queues and exception types a summary lists.
const topNames = 10

// rateWindow is what RatePerMin looks back on. Of the minute in which it begins
// the part that is in it is taken in proportion: whole minutes are in the
// rollups, and reading that part row by row took longer than everything else
// together at 20 000 invocations a second.
const rateWindow = 5 * time.Minute

// TaskSummary is one task over a range.
type TaskSummary struct {
	Name string
	rollup.Summary
	Active     uint64  // open now, whatever the range
	RatePerMin float64 // ended in the last five minutes, a minute
}

// Tasks summarises every task over a range of row time, in microseconds,
// sorted by name; name restricts it to one task. Tasks that only have open
// invocations outside the range are listed too.
func (db *DB) Tasks(ctx context.Context, from, to int64, name string) ([]TaskSummary, Coverage, error) {
	if err := db.usable(); err != nil {
		return nil, Coverage{}, err
	}
	defer db.metrics.timed("tasks")()
	byName := map[string]*TaskSummary{}
	at := func(name string) *TaskSummary {
		t := byName[name]
		if t == nil {
			t = &TaskSummary{Name: name}
			byName[name] = t
		}
		return t
	}
	var open openNames
	unreadable, err := db.sum(ctx, from, to, rollup.Forever, sumOf{name: name, open: &open}, rollup.Whole, func(set *rollup.Set) {
		for k, r := range set.All() {
			if !r.Empty() {
				at(k.Name).Summary = rollup.Summarize(r, topNames)
			}
		}
		if rest := set.Rest(); !rest.Empty() { // what there was no memory for
			if o := set.Get(rollup.Other, 0); o != nil {
				rest.Merge(o)
			}
			at(rollup.Other).Summary = rollup.Summarize(rest, topNames)
		}
	})
	if err != nil {
		return nil, Coverage{}, err
	}
	active := func(n string, count int64) {
		t := byName[n]
		if t == nil && len(byName) > rollup.DefaultLimits.Names {
			t = at(rollup.Other) // clients can invent names without end
		} else if t == nil {
			t = at(strings.Clone(n)) // not the whole row
		}
		t.Active += uint64(count)
	}
	for n, count := range open {
		active(n, count)
	}
	if open == nil {
		if err := db.active(ctx, name, active); err != nil {
			return nil, Coverage{}, err
		}
	}
	now := db.now()
	minute := rollup.Minute.Start(now)
	since := minute - rateWindow.Microseconds()
	more, err := db.sum(ctx, since, minute+rollup.Minute.Micros(), rollup.Minute, sumOf{name: name, ended: true}, rollup.OnlyCounts, func(recent *rollup.Set) {
		for k, r := range recent.All() {
			if ended := r.States[task.StateSuccess] + r.States[task.StateFailure] + r.States[task.StateRevoked] + r.States[task.StateRejected]; ended > 0 && byName[k.Name] != nil {
				share := 1.0
				if k.Bucket == since {
					share -= float64(now-minute) / float64(rollup.Minute.Micros())
				}
				at(k.Name).RatePerMin += share * float64(ended)
			}
		}
	})
	if err != nil {
		return nil, Coverage{}, err
	}
	unreadable = append(unreadable, more...)
	out := make([]TaskSummary, 0, len(byName))
	for _, t := range byName {
		t.RatePerMin /= rateWindow.Minutes()
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b TaskSummary) int { return cmp.Compare(a.Name, b.Name) })
	return out, db.coverage(&task.Filter{From: from, To: to}, unreadable), nil
}

// active calls fn with the task names of everything that is open now, or of one
// task, and how many those are.
func (db *DB) active(ctx context.Context, only string, fn func(name string, n int64)) error {
	open := db.head.Open() // before the parked file, to which they go
	var held []*task.Invocation
	parked := db.compact.Parked()
	if parked != nil && parked.Rows() > 0 {
		snap := db.head.Snapshot()
		held = snap.Slice()
		open = held
	}
	for _, v := range open {
		if v.Open() && (only == "" || v.TaskName == only) {
			fn(v.TaskName, 1)
		}
	}
	if held == nil {
		return nil
	}
	return parked.Open(ctx, only, held, fn)
}

// seriesSteps is how many steps of any sketches there is memory for at once.
const seriesSteps = 1000

// series makes a series: at once, or by parts where the runtimes are of so many
// kinds that all of it does not fit.
func (db *DB) series(ctx context.Context, from, to int64, step rollup.Width, name string) (points []rollup.Point, unreadable []string, err error) {
	series, err := rollup.NewSeries(from, to, step)
	if err != nil {
		return nil, nil, err
	}
	steps := int64(len(series.Points()))
	fits := true
	unreadable, err = db.sum(ctx, from, to, step, sumOf{name: name}, rollup.Runtimes, func(set *rollup.Set) {
		if fits = set.Rest().Empty() || steps <= 1; !fits {
			return
		}
		for k, r := range set.All() { // what is folded is of the name, too
			series.Merge(max(k.Bucket, from), r)
		}
		series.Merge(from, set.Rest())
		points = series.Points()
	})
	if err != nil || fits {
		return points, unreadable, err
	}
	unreadable = nil // what the attempt could not read, the parts name
	part := step.Start(from) + min(seriesSteps, (steps+1)/2)*step.Micros()
	for size := part - step.Start(from); from < to; from, part = part, part+size {
		more, missing, err := db.series(ctx, from, min(part, to), step, name)
		if err != nil {
			return nil, nil, err
		}
		points, unreadable = append(points, more...), append(unreadable, missing...)
	}
	return points, unreadable, nil
}

// Series is the history of one task in steps of a minute, an hour or a day.
// The errors of rollup.NewSeries are about the range and the step.
func (db *DB) Series(ctx context.Context, name string, from, to int64, step rollup.Width) ([]rollup.Point, Coverage, error) {
	if err := db.usable(); err != nil {
		return nil, Coverage{}, err
	}
	defer db.metrics.timed("series")()
	points, unreadable, err := db.series(ctx, from, to, step, name)
	if err != nil {
		return nil, Coverage{}, err
	}
	return points, db.coverage(&task.Filter{From: from, To: to}, unreadable), nil
}
