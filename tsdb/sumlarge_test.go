package tsdb

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// sumLimits makes sums small and large from other sizes on.
func sumLimits(t *testing.T, small, large int64) {
	s, l := smallSum, largeSum
	smallSum.Bytes, largeSum.Bytes = small, large
	t.Cleanup(func() { smallSum, largeSum = s, l })
}

// manyNames stores invocations of many tasks in a sealed day, a live one and the head.
func manyNames(t *testing.T, db *DB, names int) {
	t.Helper()
	for _, at := range []time.Time{noon.Add(-30 * time.Hour), noon.Add(-time.Hour), noon} {
		recs := make([]Record, names)
		for i := range recs {
			e := task.Event{TaskID: fmt.Sprint(at.Unix(), "-", i), State: task.StateSuccess, At: at.UnixMicro(), Worker: "w@h", TaskName: fmt.Sprint("name", i),
				Retries: task.RetriesUnknown, HasRuntime: true, Runtime: int64(i + 1)}
			recs[i].Invocation = e.Invocation()
		}
		mustAppend(t, db, recs...)
		if at != noon {
			if _, err := db.Cut(context.Background(), true); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Of the sums that take much memory one is made at a time, however many are
// asked for; who waits for it in vain is told when the time is up, and others go on.
func TestLargeSumsComeOneByOne(t *testing.T) {
	ctx := context.Background()
	db := start(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	const names = 300
	manyNames(t, db, names)
	to := noon.Add(time.Hour).UnixMicro()
	from := noon.Add(-48 * time.Hour).UnixMicro()
	want, cover, err := db.Tasks(ctx, from, to, "")
	if err != nil || len(want) != names || want[0].Total != 3 {
		t.Fatal(len(want), err)
	}
	sumLimits(t, 32<<10, largeSum.Bytes)
	db.sums = sumCache{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			got, c, err := db.Tasks(ctx, from, to, "")
			if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(c, cover) {
				t.Errorf("%d tasks, %+v, %v", len(got), c, err)
			}
		})
	}
	all.Wait()
	db.large <- struct{}{} // somebody's large sum is under way
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if got, _, err := db.Tasks(soon, from, to, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d tasks, %v: a large sum beside another", len(got), err)
	}
	if n, err := db.Count(soon, CountQuery{By: "task_name", Filter: task.Filter{From: from, To: to}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d counted, %v: a large sum beside another", n.Total, err)
	}
	if got, _, err := db.Tasks(ctx, from, to, "name7"); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want[0]) && got[0].Total != 3 {
		t.Errorf("a small sum beside a large one: %+v, %v", got, err)
	}
	<-db.large
	if got, _, err := db.Tasks(ctx, from, to, ""); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%d tasks, %v, after the large sum", len(got), err)
	}
	if len(db.large) != 0 {
		t.Error("a large sum is under way for ever")
	}
}

// What is gone is taken out of what there was no bucket for, too, wherever it is
// itself.
func TestSubtractFromRest(t *testing.T) {
	t.Parallel()
	limits := rollup.Limits{Names: 1000, Bytes: 32 << 10}
	row := func(i int) *task.Invocation {
		return &task.Invocation{TaskName: "t", State: task.StateSuccess, FinishedAt: int64(i+1) * 60_000_000, Outcome: task.Outcome{HasRuntime: true, Runtime: int64(i + 1)}}
	}
	const rows = 200
	for what, gone := range map[string][2]int{"a few": {rows - 3, rows}, "more than there are buckets for": {0, rows}} {
		s := &summation{added: rollup.NewSet(rollup.Minute, limits), gone: rollup.NewSet(rollup.Minute, limits)}
		for i := range rows {
			s.added.Add(row(i))
		}
		for i := gone[0]; i < gone[1]; i++ {
			s.gone.Add(row(i))
		}
		if s.added.Rest().Empty() || (gone[0] == 0) == s.gone.Rest().Empty() {
			t.Fatal("the test is of nothing")
		}
		ok, err := s.subtract()
		left := s.added.Rest().Total()
		for _, r := range s.added.All() {
			left += r.Total()
		}
		if want := uint64(rows - gone[1] + gone[0]); !ok || err != nil || left != want || len(s.unreadable) > 0 {
			t.Errorf("%s: %d are left, want %d; %v, %v, %v", what, left, want, ok, err, s.unreadable)
		}
	}
}

// A series that does not fit is made by parts; what of the whole could not be
// settled, of the parts can.
func TestSeriesByPartsIsWhole(t *testing.T) {
	ctx := context.Background()
	c := &testClock{at: noon}
	db := start(t, testOptions(t.TempDir(), c))
	defer db.Close()
	day := task.DayOf(noon.UnixMicro()) - 1
	at := func(hour int, minute int) time.Time {
		return time.UnixMicro(day.Start()).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	run := func(id string, at time.Time, runtime int64) Record {
		e := task.Event{TaskID: id, State: task.StateSuccess, At: at.UnixMicro(), TaskName: "t", Retries: task.RetriesUnknown, HasRuntime: true, Runtime: runtime}
		return Record{Invocation: e.Invocation()}
	}
	for hour := range 24 {
		mustAppend(t, db, run(fmt.Sprint("h", hour), at(hour, 0), 1e6))
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, run("late", at(23, 1), 7e6))
	if _, err := db.Cut(ctx, false); err != nil { // into an overlay, which is read first
		t.Fatal(err)
	}
	// The head has both rows of the last hour: one is counted in its bucket, the
	// other in none if there is no memory.
	mustAppend(t, db, run("h23", noon, 2e6), run("late", noon, 2e6))
	to := noon.Add(time.Hour).UnixMicro()
	want, cover, err := db.Series(ctx, "t", day.Start(), to, rollup.Hour)
	if err != nil || !cover.Complete {
		t.Fatal(cover, err)
	}
	sumLimits(t, 4<<10, 8<<10)
	whole, unreadable, err := sumSet(ctx, db, day.Start(), to, rollup.Hour, sumOf{name: "t"})
	if err != nil || whole.Rest().Empty() || !slices.Contains(unreadable, inexact) {
		t.Fatal("the test is of nothing", unreadable, err)
	}
	got, c2, err := db.Series(ctx, "t", day.Start(), to, rollup.Hour)
	if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(c2, cover) {
		t.Errorf("by parts: %+v, %v\n got %+v\nwant %+v", c2, err, got, want)
	}
}

// Where every day has more names than are counted apart, nothing can be remembered;
// then a run of days is not read once for each of its halves, too.
func TestRunsOfTooManyNames(t *testing.T) {
	sumLimits(t, smallSum.Bytes, largeSum.Bytes)
	smallSum.Names, largeSum.Names = 30, 30
	ctx := context.Background()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.RetentionTime = 0
	db := start(t, o)
	defer db.Close()
	const days = 16
	first := task.DayOf(noon.UnixMicro()) / days * days // a whole run
	first -= days
	for d := range task.Day(days) {
		recs := make([]Record, 80)
		for i := range recs {
			e := task.Event{TaskID: fmt.Sprint(d, "-", i), TaskName: fmt.Sprint("name", i), State: task.StateSuccess, At: (first + d).Start() + int64(i)}
			recs[i].Invocation = e.Invocation()
		}
		mustAppend(t, db, recs...)
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	looks := func(from, to task.Day) int {
		const most = 1 << 20
		counted := &endsAfter{Context: ctx, n: most}
		set, _, err := sumSet(counted, db, from.Start(), to.Start(), rollup.Forever, sumOf{})
		if err != nil {
			t.Fatal(err)
		}
		if n := set.Get(rollup.Other, 0).Total() + 30*uint64(to-from); n != 80*uint64(to-from) {
			t.Fatalf("%d invocations of %d days", n, to-from)
		}
		return most - counted.n
	}
	run, again, apart := looks(first, first+days), looks(first, first+days), 0
	db.sums = sumCache{}
	for d := range task.Day(days) {
		apart += looks(first+d, first+d+1)
	}
	// Of each day alone, once to be remembered in vain and once for the answer.
	if run > apart+apart/2 || again > apart/2 {
		t.Errorf("%d looks, then %d; for the days one by one %d", run, again, apart)
	}
}
