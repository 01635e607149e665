package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// What is remembered of sealed days is what their rows say: for ranges of any
// edges, twice each, before, with and after late rows.
func TestSumsOfSealedDays(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync = "never"
	db := start(t, o)
	defer db.Close()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(7, 7))
	const days = 11
	first := task.DayOf(noon.UnixMicro()) - days
	put := func(n int, at func() int64) {
		recs := make([]Record, n)
		for i := range recs {
			e := task.Event{TaskID: fmt.Sprint(r.Uint64()), TaskName: fmt.Sprint("t", r.IntN(3)), State: task.StateSuccess, At: at(), Worker: "w@h",
				Retries: task.RetriesUnknown, HasRuntime: true, Runtime: r.Int64N(1_000_000)}
			recs[i] = Record{Invocation: e.Invocation()}
		}
		mustAppend(t, db, recs...)
	}
	put(3000, func() int64 { return first.Start() + r.Int64N(days*rollup.Day.Micros()) })
	// An hour with many.
	put(500, func() int64 { return (first + 5).Start() + 10*rollup.Hour.Micros() + r.Int64N(rollup.Hour.Micros()) })
	edge := func() int64 {
		at := (first - 1).Start() + r.Int64N((days+3)*rollup.Day.Micros())
		if r.IntN(3) == 0 {
			at = (first + 5).Start() + 9*rollup.Hour.Micros() + r.Int64N(3*rollup.Hour.Micros())
		}
		return oneOf(r, rollup.Day, rollup.Hour, rollup.Minute, rollup.Width(1)).Start(at)
	}
	check := func(when string) {
		t.Helper()
		all := (&model{t: t, db: db}).all(Query{Limit: 1000})
		for range 60 {
			from, to := edge(), edge()
			if from > to {
				from, to = to, from
			}
			want := rollup.NewSet(rollup.Forever, rollup.DefaultLimits)
			for i := range all {
				if at := all[i].RowTime(); at >= from && at < to {
					want.Add(&all[i])
				}
			}
			for range 2 {
				got, _, err := sumSet(ctx, db, from, to, rollup.Forever, sumOf{})
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"t0", "t1", "t2"} {
					a, b := got.Get(name, 0), want.Get(name, 0)
					if (a == nil || a.Empty()) != (b == nil) || b != nil && !a.Agrees(b) {
						t.Fatalf("%s: %s from %s to %s: %+v, want %+v", when, name, stamp(from), stamp(to), a, b)
					}
				}
				name := fmt.Sprint("t", r.IntN(3))
				one, _, err := sumSet(ctx, db, from, to, rollup.Forever, sumOf{name: name})
				if err != nil {
					t.Fatal(err)
				}
				if a, b := one.Get(name, 0), want.Get(name, 0); one.Len() > 1 || (a == nil || a.Empty()) != (b == nil) || b != nil && !a.Agrees(b) {
					t.Fatalf("%s: %s alone from %s to %s: %+v, want %+v", when, name, stamp(from), stamp(to), a, b)
				}
			}
		}
	}
	cut := func(seal bool) {
		t.Helper()
		if _, err := db.Cut(ctx, seal); err != nil {
			t.Fatal(err)
		}
	}
	check("in the head")
	cut(true)
	check("sealed")
	if db.sums.size() == 0 {
		t.Error("nothing was remembered")
	}
	late := func() int64 { return (first + 5).Start() + 10*rollup.Hour.Micros() + r.Int64N(rollup.Hour.Micros()) }
	put(3, late)
	cut(false)
	check("with an overlay")
	var again []Record // something new about rows of that hour, of which some move within it
	for _, v := range (&model{t: t, db: db}).all(Query{Limit: 1000}) {
		if at := v.RowTime(); at >= (first+5).Start()+10*rollup.Hour.Micros() && at < (first+5).Start()+11*rollup.Hour.Micros() && r.IntN(4) == 0 {
			e := task.Event{TaskID: v.TaskID, TaskName: v.TaskName, State: task.StateFailure, At: max(at, late()), Worker: "w@h", Retries: task.RetriesUnknown, ExceptionType: "E"}
			again = append(again, Record{Invocation: e.Invocation()})
		}
	}
	if len(again) < 50 {
		t.Fatalf("%d rows are told of again", len(again))
	}
	mustAppend(t, db, again[:len(again)/2]...)
	check("with rows in the head that an overlay will hide")
	cut(false)
	mustAppend(t, db, again[len(again)/2:]...)
	check("with an overlay that hides rows")
	db.sums = sumCache{}
	check("with an overlay that hides rows, and nothing remembered")
	cut(true)
	check("sealed again")
	c.add(24 * time.Hour)
	put(50, func() int64 { return c.now().UnixMicro() - r.Int64N(10*rollup.Hour.Micros()) })
	check("a day later")
	if n := db.sums.size(); n > maxSumBytes {
		t.Errorf("%d bytes are remembered", n)
	}
}

// What is gone and does not fit what was added is left in whole, and said to be;
// under another name it may fit.
func TestSumsThatDoNotSettle(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	db := start(t, testOptions(t.TempDir(), c))
	defer db.Close()
	row := func(name string, ms int64, queue string) *task.Invocation {
		v := finished("x", noon).Invocation
		v.TaskName, v.Queue = name, queue
		v.StartedAt = v.FinishedAt - ms*1000
		v.Outcome.Runtime, v.Outcome.HasRuntime = ms*1000, true
		return &v
	}
	try := func(last bool) *summation {
		s := &summation{db: db, last: last, added: rollup.NewSet(rollup.Forever, rollup.DefaultLimits), gone: rollup.NewSet(rollup.Forever, rollup.DefaultLimits)}
		for range 3 {
			s.added.Add(row("a", 10, "q"))
			s.added.Add(row(rollup.Other, 20, "q"))
		}
		return s
	}
	for what, x := range map[string]struct {
		gone     *task.Invocation
		a, other uint64 // that are left
		settled  bool
	}{
		"fits":           {gone: row("a", 10, "q"), a: 2, other: 3, settled: true},
		"fits the rest":  {gone: row("a", 20, "q"), a: 3, other: 2, settled: true},
		"of no name":     {gone: row("b", 20, "q"), a: 3, other: 2, settled: true},
		"fits none":      {gone: row("a", 70, "q"), a: 3, other: 3},
		"fits the count": {gone: row("a", 10, "elsewhere"), a: 3, other: 3},
	} {
		s := try(true)
		s.gone.Add(x.gone)
		if ok, err := s.subtract(); !ok || err != nil {
			t.Fatalf("%s: %v %v", what, ok, err)
		}
		want := try(true)
		a, other := s.added.Get("a", 0), s.added.Get(rollup.Other, 0)
		if a.Total() != x.a || other.Total() != x.other || x.a == 3 && !a.Equal(want.added.Get("a", 0)) || x.other == 3 && !other.Equal(want.added.Get(rollup.Other, 0)) {
			t.Errorf("%s: %d and %d are left, or not as they were", what, a.Total(), other.Total())
		}
		if cover := db.coverage(&task.Filter{}, s.unreadable); cover.Complete != x.settled || len(cover.Unreadable) > 0 {
			t.Errorf("%s: complete %v, without %q", what, cover.Complete, cover.Unreadable)
		}
		s = try(false)
		s.gone.Add(x.gone)
		if ok, err := s.subtract(); ok != x.settled || err != nil {
			t.Errorf("%s, with more tries to come: %v %v", what, ok, err)
		}
	}
}

// However many names clients invent, a summary is of ten thousand and the rest,
// which counts every invocation.
func TestTasksOfInventedNames(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync, o.HeadMaxRecords = "never", 100_000
	db := start(t, o)
	defer db.Close()
	const each = 11_000
	recs := make([]Record, 2*each)
	for i := range each {
		recs[2*i], recs[2*i+1] = finished(fmt.Sprint("f", i), noon), started(fmt.Sprint("s", i), noon)
		recs[2*i].Invocation.TaskName = fmt.Sprint("finished", i)
		recs[2*i+1].Invocation.TaskName = fmt.Sprint("started", i)
	}
	mustAppend(t, db, recs...)
	for _, parked := range []int{0, each} {
		if n, err := db.compact.Park(context.Background(), db.cuttable(), parked, true); n != parked || err != nil {
			t.Fatal(n, err)
		}
		list, _, err := db.Tasks(context.Background(), 0, noon.UnixMicro()+1, "")
		if err != nil || len(list) > rollup.DefaultLimits.Names+2 {
			t.Fatal(len(list), err)
		}
		var total, active uint64
		for _, x := range list {
			total, active = total+x.Total, active+x.Active
		}
		if total != 2*each || active != each {
			t.Errorf("%d invocations, %d of them open, with %d parked", total, active, parked)
		}
	}
}

// sumSet is the whole result of a sum.
func sumSet(ctx context.Context, db *DB, from, to int64, width rollup.Width, of sumOf) (set *rollup.Set, unreadable []string, err error) {
	unreadable, err = db.sum(ctx, from, to, width, of, rollup.Whole, func(s *rollup.Set) { set = s })
	return set, unreadable, err
}
