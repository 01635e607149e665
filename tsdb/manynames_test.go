package tsdb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// A file counts its 10 000 first names apart. Who asks for another one by its
// name gets its numbers all the same: from the live file and the sealed one, while
// the head or an overlay has a later state of its rows.
func TestNamesBeyondTheBound(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync = "never"
	db := start(t, o)
	defer db.Close()
	const names = 10_020
	from := noon.Add(-36 * time.Hour)
	run := func(n int, retries int32) Record {
		e := task.Event{TaskID: fmt.Sprint("i", n), State: task.StateSuccess, At: from.Add(time.Duration(n) * time.Millisecond).UnixMicro(), TaskName: fmt.Sprint("n", n), Retries: retries,
			HasRuntime: true, Runtime: int64(1000 * (n + 1))}
		if n == names-1 {
			e.TaskName = "*"
		}
		return Record{Invocation: e.Invocation()}
	}
	for n := 0; n < names; {
		var recs []Record
		for ; len(recs) < 1000 && n < names; n++ {
			recs = append(recs, run(n, 0))
		}
		mustAppend(t, db, recs...)
	}
	check := func(when string, retries uint64) {
		t.Helper()
		for _, n := range []int{0, 9_990, 10_010, names - 2, names - 1} {
			r := run(n, 0).Invocation
			name := r.TaskName
			list, _, err := db.Tasks(ctx, from.UnixMicro()-1, noon.UnixMicro(), name)
			if err != nil || len(list) != 1 || list[0].Total != 1 || list[0].Runtime.Count != 1 || list[0].Runtime.Max != float64(n+1) || n == 10_010 && list[0].Retries != retries {
				t.Fatalf("%s: the summary of %q: %+v, %v", when, name, list, err)
			}
			hour := rollup.Hour.Start(from.UnixMicro())
			points, _, err := db.Series(ctx, name, hour, hour+2*rollup.Hour.Micros(), rollup.Hour)
			if err != nil || points[0].Total+points[1].Total != 1 {
				t.Fatalf("%s: the series of %q: %+v, %v", when, name, points, err)
			}
			if name == "*" {
				continue
			}
			count, err := db.Count(ctx, CountQuery{Filter: task.Filter{TaskNames: []string{name}}})
			if err != nil || count.Total != 1 || !count.Complete {
				t.Fatalf("%s: the count of %q: %+v, %v", when, name, count, err)
			}
		}
		count, err := db.Count(ctx, CountQuery{By: "state", Step: rollup.Hour, Filter: task.Filter{From: from.UnixMicro(), To: noon.UnixMicro()}})
		if err != nil || count.Total != names || len(count.Groups) != 1 || count.Points[0].Total != names || !count.Complete {
			t.Fatalf("%s: the count of all: %+v, %v", when, count, err)
		}
	}
	cut := func(seal bool) {
		t.Helper()
		if _, err := db.Cut(ctx, seal); err != nil {
			t.Fatal(err)
		}
	}
	check("in the head", 0)
	cut(false)
	check("in a live file", 0)
	mustAppend(t, db, run(10_010, 1))
	check("one in the head again", 1)
	cut(false)
	check("one replaced", 1)
	cut(true)
	check("sealed", 1)
	mustAppend(t, db, run(10_010, 2))
	check("one in the head, over a sealed file", 2)
	cut(false)
	check("one in an overlay", 2)
}
