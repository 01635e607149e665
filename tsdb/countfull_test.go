package tsdb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// Where there is no memory for every name in every step, a count by state or of
// all is exact nevertheless, as is a series; one by name says that it is not.
func TestCountsBeyondMemory(t *testing.T) {
	ctx := context.Background()
	sumLimits(t, 1<<20, 2<<20)
	cells := maxCells
	maxCells = 3500
	t.Cleanup(func() { maxCells = cells })
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync = "never"
	db := start(t, o)
	defer db.Close()
	const minutes = 2000
	from := noon.Add(-36 * time.Hour)
	end := from.Add(minutes * time.Minute)
	state := func(i int) task.State {
		if i%4 == 0 {
			return task.StateFailure
		}
		return task.StateSuccess
	}
	var recs []Record
	for i := range minutes {
		for _, name := range []string{"a", fmt.Sprint("b", i%40)} {
			e := task.Event{TaskID: fmt.Sprint(name, "-", i), State: state(i), At: from.Add(time.Duration(i) * time.Minute).UnixMicro(), TaskName: name,
				HasRuntime: true, Runtime: int64(i + 1), Retries: 0, Args: "all"}
			recs = append(recs, Record{Invocation: e.Invocation()})
		}
	}
	mustAppend(t, db, recs...)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	words, err := text.Parse("all")
	if err != nil {
		t.Fatal(err)
	}
	filter := task.Filter{From: from.UnixMicro(), To: end.UnixMicro()}
	failed := filter
	failed.States = []task.State{task.StateFailure}
	some := failed
	some.TaskNames = []string{"b4", "a", "b4", "none"}
	each := func(i int, states, names bool) int64 {
		switch {
		case states && i%4 != 0:
			return 0
		case names && i%40 != 4:
			return 1
		}
		return 2
	}
	for _, x := range []struct {
		what          string
		q             CountQuery
		states, names bool
		whole         bool
	}{
		{"all", CountQuery{Filter: filter}, false, false, true},
		{"by state", CountQuery{Filter: filter, By: "state"}, false, false, true},
		{"of a state", CountQuery{Filter: failed}, true, false, true},
		{"of a state by state", CountQuery{Filter: failed, By: "state"}, true, false, true},
		{"of names", CountQuery{Filter: some}, true, true, true},
		{"of names by name", CountQuery{Filter: some, By: "task_name"}, true, true, true},
		{"by name", CountQuery{Filter: filter, By: "task_name"}, false, false, false},
		{"by name from rows", CountQuery{Filter: filter, By: "task_name", Text: words}, false, false, false},
	} {
		x.q.Step = rollup.Minute
		got, err := db.Count(ctx, x.q)
		if err != nil || got.Complete != x.whole || len(got.Points) != minutes {
			t.Fatalf("%s: %d points, complete %v, %v", x.what, len(got.Points), got.Complete, err)
		}
		total := int64(0)
		for i, p := range got.Points {
			want := each(i, x.states, x.names)
			total += want
			if x.whole && p.Total != want {
				t.Fatalf("%s: %d in minute %d, want %d", x.what, p.Total, i, want)
			}
			for _, g := range p.Groups {
				if x.q.By == "state" && g.Key != state(i).String() || x.whole && g.Key == rollup.Other {
					t.Fatalf("%s: %+v in minute %d", x.what, p.Groups, i)
				}
			}
		}
		if got.Total != total {
			t.Fatalf("%s: %d, want %d", x.what, got.Total, total)
		}
	}
	sumLimits(t, 16<<10, 256<<10) // which a thousand steps do not fit in
	points, _, err := db.Series(ctx, "a", filter.From, filter.To, rollup.Minute)
	if err != nil || len(points) != minutes {
		t.Fatal(len(points), err)
	}
	for i, p := range points {
		if p.Total != 1 || p.Failure != uint64(each(i, true, true)+1)/2 || p.Runtime.Max != float64(i+1)/1000 {
			t.Fatalf("minute %d of the series: %+v", i, p)
		}
	}
	sumLimits(t, 1, 1) // in which not even one step fits
	points, _, err = db.Series(ctx, "a", filter.From, filter.From+4*rollup.Minute.Micros(), rollup.Minute)
	if err != nil || len(points) != 4 || points[3].Total != 1 || points[3].Runtime.Max != 0.004 {
		t.Fatalf("by single steps: %+v, %v", points, err)
	}
}
