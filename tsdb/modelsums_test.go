package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// taskSums are what a summary or a point tells, from rows.
type taskSums struct {
	total, success, failure, revoked, rejected, givenUp, retries uint64
	runtimes, waits                                              []int64
	workers, queues, exceptions                                  map[string]uint64
	active, rate                                                 float64
}

func newTaskSums() *taskSums {
	return &taskSums{workers: map[string]uint64{}, queues: map[string]uint64{}, exceptions: map[string]uint64{}}
}

func (w *taskSums) add(v *task.Invocation) {
	w.total++
	w.retries += uint64(v.Retries)
	switch {
	case v.State == task.StateSuccess:
		w.success++
	case v.State == task.StateFailure:
		w.failure++
	case v.State == task.StateRevoked:
		w.revoked++
	case v.State == task.StateRejected:
		w.rejected++
	case v.GivenUpAt != 0:
		w.givenUp++
	}
	if v.Outcome.HasRuntime {
		w.runtimes = append(w.runtimes, v.Outcome.Runtime)
	}
	if from := max(v.SentAt, v.ETA); v.StartedAt != 0 {
		if from == 0 {
			from = v.ReceivedAt
		}
		if from != 0 && from <= v.StartedAt {
			w.waits = append(w.waits, v.StartedAt-from)
		}
	}
	count := func(names map[string]uint64, name string) {
		if name != "" {
			names[name]++
		}
	}
	count(w.workers, task.WorkerGroup(v.Worker))
	count(w.queues, v.Queue)
	if v.State != task.StateSuccess {
		count(w.exceptions, v.Outcome.ExceptionType)
	}
}

func (w *taskSums) failureRate() float64 {
	if w.failure == 0 {
		return 0
	}
	return float64(w.failure) / float64(w.failure+w.success)
}

// distribution compares durations: percentiles within 1 %; minimum and maximum
// may be wider than the truth by 2 %, where a row that was one has gone.
func (m *model) distribution(what string, got rollup.Distribution, exact []int64) {
	m.t.Helper()
	n := len(exact)
	if got.Count != uint64(n) {
		m.failf("%d %s, want %d", got.Count, what, n)
	}
	if n == 0 {
		if got != (rollup.Distribution{}) {
			m.failf("%s without any: %+v", what, got)
		}
		return
	}
	slices.Sort(exact)
	sum := 0.0
	for _, us := range exact {
		sum += float64(us) / 1000
	}
	near := func(a, b, part float64) bool { return math.Abs(a-b) <= part*b+1e-9 }
	at := func(q float64) float64 { return float64(exact[int(q*float64(n-1))]) / 1000 }
	ok := near(got.P50, at(0.5), 0.0101) && near(got.P95, at(0.95), 0.0101) && near(got.P99, at(0.99), 0.0101) && near(got.Mean, sum/float64(n), 1e-9) &&
		near(got.Min, at(0), 0.0205) && got.Min <= at(0) && near(got.Max, at(1), 0.0205) && got.Max >= at(1)
	if !ok {
		m.failf("%s: %+v\nof %v", what, got, exact)
	}
}

func (m *model) ranking(what string, got rollup.Ranking, names map[string]uint64) {
	m.t.Helper()
	var want []rollup.Count
	for name, n := range names {
		want = append(want, rollup.Count{Name: name, Count: n})
	}
	slices.SortFunc(want, func(a, b rollup.Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	if got.Other != 0 || !slices.Equal(got.Named, want) {
		m.failf("%s: %+v, want %+v", what, got, want)
	}
}

// checkSums compares the summaries and a series of a random range with the rows.
func (m *model) checkSums(all []task.Invocation) {
	now := m.c.now().UnixMicro()
	from := oneOf(m.r, 0, now-m.r.Int64N(4*24*3600*1_000_000), rollup.Hour.Start(now-m.r.Int64N(4*24*3600*1_000_000)))
	to := oneOf(m.r, now+1, from+m.r.Int64N(4*24*3600*1_000_000), rollup.Day.Start(now+24*3600*1_000_000))
	want := map[string]*taskSums{}
	of := func(name string) *taskSums {
		if want[name] == nil {
			want[name] = newTaskSums()
		}
		return want[name]
	}
	minute := rollup.Minute.Start(now)
	for i := range all {
		v := &all[i]
		if at := v.RowTime(); at >= from && at < to {
			of(v.TaskName).add(v)
		}
		if v.Open() {
			of(v.TaskName).active++
		}
	}
	for i := range all { // of those that are listed
		v, share := &all[i], 0.0
		switch at := rollup.Minute.Start(v.RowTime()); {
		case at > minute-5*60_000_000 && at <= minute:
			share = 1
		case at == minute-5*60_000_000:
			share = 1 - float64(now-minute)/60e6
		}
		if w := want[v.TaskName]; w != nil && v.State.Finished() {
			w.rate += share / 5
		}
	}
	got, _, err := m.db.Tasks(context.Background(), from, to, "")
	if err != nil {
		m.failf("tasks: %v", err)
	}
	for _, g := range got {
		w := want[g.Name]
		if w == nil {
			m.failf("sums of %q come out of nothing: %+v", g.Name, g)
		}
		delete(want, g.Name)
		over := fmt.Sprintf("%q over %s to %s", g.Name, stamp(from), stamp(to))
		if g.Total != w.total || g.Success != w.success || g.Failure != w.failure || g.Revoked != w.revoked || g.Rejected != w.rejected || g.GivenUp != w.givenUp ||
			g.Retries != w.retries || g.FailureRate != w.failureRate() || g.Active != uint64(w.active) || math.Abs(g.RatePerMin-w.rate) > 1e-9 {
			m.failf("sums of %s:\n got %+v\nwant %+v", over, g, *w)
		}
		m.distribution("runtimes of "+over, g.Runtime, w.runtimes)
		m.distribution("waits of "+over, g.Wait, w.waits)
		m.ranking("workers of "+over, g.Workers, w.workers)
		m.ranking("queues of "+over, g.Queues, w.queues)
		m.ranking("exceptions of "+over, g.Exceptions, w.exceptions)
	}
	for name, w := range want {
		m.failf("no sums of %q, want %+v", name, *w)
	}
	step := oneOf(m.r, rollup.Minute, rollup.Hour, rollup.Day)
	if from == 0 || to < from || (to-from)/step.Micros() > 10_000 {
		return
	}
	m.checkSeries(all, from, to, step)
}

// checkSeries compares every point of a series with the rows.
func (m *model) checkSeries(all []task.Invocation, from, to int64, step rollup.Width) {
	points, _, err := m.db.Series(context.Background(), "name1", from, to, step)
	if err != nil {
		m.failf("series: %v", err)
	}
	want := map[int64]*taskSums{}
	for i := range all {
		v := &all[i]
		if at := v.RowTime(); v.TaskName == "name1" && at >= from && at < to {
			if at = step.Start(at); want[at] == nil {
				want[at] = newTaskSums()
			}
			want[step.Start(v.RowTime())].add(v)
		}
	}
	for i, p := range points {
		if i > 0 && p.At != points[i-1].At+step.Micros() {
			m.failf("a series of %d s has a point at %s", step, stamp(p.At))
		}
		w := want[p.At]
		if w == nil {
			if p != (rollup.Point{At: p.At}) {
				m.failf("a series of %d s over %s to %s: %+v where nothing is", step, stamp(from), stamp(to), p)
			}
			continue
		}
		delete(want, p.At)
		what := fmt.Sprintf("the point %s of %d s over %s to %s", stamp(p.At), step, stamp(from), stamp(to))
		if p.Total != w.total || p.Success != w.success || p.Failure != w.failure || p.Retries != w.retries || p.FailureRate != w.failureRate() {
			m.failf("%s:\n got %+v\nwant %+v", what, p, *w)
		}
		m.distribution("runtimes of "+what, p.Runtime, w.runtimes)
	}
	if len(want) > 0 {
		m.failf("a series of %d s over %s to %s misses %d points", step, stamp(from), stamp(to), len(want))
	}
}

// restart stops the DB in some way and starts it again: the first summary is the
// last one from before. gives says that stopping gives up what is due, which then
// has another row time.
func (m *model) restart(how string, gives bool, stop func(testing.TB)) {
	tell := func() string {
		end := rollup.Day.Start(m.c.now().UnixMicro()) + 2*rollup.Day.Micros()
		list, _, err := m.db.Tasks(context.Background(), 0, end, "")
		if err != nil {
			m.failf("tasks: %v", err)
		}
		points, _, err := m.db.Series(context.Background(), "name1", end-6*rollup.Day.Micros(), end, rollup.Hour)
		if err != nil {
			m.failf("series: %v", err)
		}
		points = slices.DeleteFunc(points, func(p rollup.Point) bool { return gives || p.Total == 0 })
		for i := range list {
			if gives {
				list[i].Active, list[i].GivenUp = 0, 0
			}
		}
		return fmt.Sprintf("%+v\n%+v", list, points)
	}
	before := tell()
	m.did("%s", how)
	stop(m.t)
	m.db = start(m.t, m.o)
	half := m.half
	if m.half = false; half {
		return
	}
	if after := tell(); after != before {
		m.failf("the first summary after a restart is not the last one before it:\nbefore %s\nafter  %s", before, after)
	}
}
