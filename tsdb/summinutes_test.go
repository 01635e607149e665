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
	// A late event lies over it, and does not have the hour read again.
	from := hour + 5*rollup.Minute.Micros()
	e := task.Event{TaskID: "late", TaskName: "task7", State: task.StateSuccess, At: from, Worker: "w@h", Retries: task.RetriesUnknown}
	mustAppend(t, db, Record{Invocation: e.Invocation()})
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	looks := &endsAfter{Context: ctx, n: 1000}
	got, _, err := sumSet(looks, db, from, to, rollup.Forever, sumOf{})
	if err != nil || got.Get("task7", 0).Total() != 55+1 {
		t.Error(err, got.Get("task7", 0))
	}
	if n := 1000 - looks.n; n > 40 { // there is one for every 256 rows
		t.Errorf("%d looks at the context", n)
	}
}

// The same hour of yesterday begins and ends in the midst of two: both are remembered,
// and a series by minute over many hours does not drive out what is.
func TestTwoHoursAreRemembered(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync = "never"
	db := start(t, o)
	defer db.Close()
	day := rollup.Day.Start(noon.UnixMicro()) - rollup.Day.Micros()
	at := func(hour, minute int64) int64 { return day + hour*rollup.Hour.Micros() + minute*rollup.Minute.Micros() }
	want := rollup.NewSet(rollup.Minute, rollup.DefaultLimits)
	for i := range int64(600) { // one a minute from 6:00 on
		e := task.Event{TaskID: fmt.Sprint(i), TaskName: "t", State: task.StateSuccess, At: at(6, i) + 7, Worker: "w@h", Retries: task.RetriesUnknown, HasRuntime: true, Runtime: i}
		r := Record{Invocation: e.Invocation()}
		want.Add(&r.Invocation)
		mustAppend(t, db, r)
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		from, to int64
		kept     int // sums in all
	}{
		{at(8, 10), at(9, 20), 2},
		{at(8, 40), at(9, 1), 2}, // the same hours
		{at(11, 0), at(11, 30), 3},
		{at(10, 30), at(11, 45), 4},
		{at(12, 30), at(15, 10), 4 + 3}, // and the hours between, which are there
	} {
		for _, width := range []rollup.Width{rollup.Forever, rollup.Minute} {
			if width == rollup.Minute && x.to-x.from > 2*rollup.Hour.Micros() {
				continue
			}
			got, _, err := sumSet(ctx, db, x.from, x.to, width, sumOf{})
			if err != nil {
				t.Fatal(err)
			}
			sum := rollup.NewSet(width, rollup.DefaultLimits)
			for k, r := range want.All() {
				if k.Bucket >= x.from && k.Bucket < x.to {
					sum.Merge(k.Name, k.Bucket, r)
				}
			}
			if got.Len() != sum.Len() {
				t.Errorf("%s to %s: %d sums of %d", stamp(x.from), stamp(x.to), got.Len(), sum.Len())
			}
			for k, r := range sum.All() {
				if g := got.Get(k.Name, k.Bucket); g == nil || !g.Agrees(r) {
					t.Errorf("%s to %s: %+v, want %+v", stamp(x.from), stamp(x.to), g, r)
				}
			}
		}
		if n := len(db.sums.at); n != x.kept {
			t.Errorf("%s to %s: %d sums are remembered, want %d", stamp(x.from), stamp(x.to), n, x.kept)
		}
	}
	before := db.sums.size()
	if _, _, err := sumSet(ctx, db, at(6, 30), at(14, 30), rollup.Minute, sumOf{}); err != nil || db.sums.size() != before {
		t.Error(err, before, db.sums.size())
	}
}
