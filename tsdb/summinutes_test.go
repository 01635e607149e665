package tsdb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// The minutes of an hour of a large day, as sums of their own, are more than may be
// remembered of one hour; encoded they are not. A day of ten million had its hour
// read anew by every question that began in its midst, two seconds each.
func TestMinutesOfALargeHourAreRemembered(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync = "never"
	db := start(t, o)
	defer db.Close()
	const names = 500
	hour := rollup.Day.Start(noon.UnixMicro()) - rollup.Day.Micros() + 8*rollup.Hour.Micros()
	sets := rollup.NewSet(rollup.Minute, rollup.Limits{Names: names, Bytes: maxSumBytes})
	for m := range 60 {
		recs := make([]Record, names)
		for i := range recs {
			at := hour + int64(m)*rollup.Minute.Micros() + int64(i)
			e := task.Event{TaskID: fmt.Sprint(m, "-", i), TaskName: fmt.Sprint("task", i), State: task.StateSuccess, At: at, Worker: "w@h", Queue: "q",
				Retries: task.RetriesUnknown, HasRuntime: true, Runtime: int64(i * m)}
			recs[i] = Record{Invocation: e.Invocation()}
			sets.Add(&recs[i].Invocation)
		}
		mustAppend(t, db, recs...)
	}
	if sets.Bytes() <= maxSumBytes/2 {
		t.Fatalf("the test is of nothing: %d bytes", sets.Bytes())
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	view := db.catalog.View()
	defer view.Release()
	var key string
	for _, d := range view.Days() {
		if d.Day == task.DayOf(hour) {
			key = fmt.Sprint(d.Sealed.Path(), "\n", hour)
		}
	}
	to := noon.Add(-time.Hour).UnixMicro()
	for m := 0; m < 60; m += 7 {
		from := hour + int64(m)*rollup.Minute.Micros()
		got, _, err := sumSet(ctx, db, from, to, rollup.Forever, sumOf{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"task0", "task7", "task499"} {
			want := rollup.NewSet(rollup.Forever, rollup.DefaultLimits)
			for k, r := range sets.All() {
				if k.Name == name && k.Bucket >= from {
					want.Merge(name, 0, r)
				}
			}
			one, _, err := sumSet(ctx, db, from, to, rollup.Forever, sumOf{name: name})
			if err != nil || one.Len() != 1 {
				t.Fatal(one.Len(), err)
			}
			for _, set := range []*rollup.Set{got, one} {
				if a, b := set.Get(name, 0), want.Get(name, 0); a == nil || !a.Agrees(b) {
					t.Fatalf("%s from minute %d: %+v, want %+v", name, m, a, b)
				}
			}
		}
		if m == 0 {
			continue
		}
		if _, ok := db.sums.get(key).(*minuteSums); !ok {
			t.Fatal("the hour is not remembered")
		}
	}
	if n := db.sums.size(); n > maxSumBytes/2 {
		t.Errorf("%d bytes are remembered", n)
	}
}
