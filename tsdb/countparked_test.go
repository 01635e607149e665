package tsdb

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// Counting many that are parked holds few of them, whatever it is by, and one
// that is cut into its day meanwhile is counted once.
func TestCountOfManyParked(t *testing.T) {
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.OpenTimeout, o.WALSync = 100*time.Hour, "never"
	db := start(t, o)
	defer db.Close()
	const rows, each = 20_000, 5000
	for n := 0; n < rows; {
		recs := make([]Record, each)
		for i := range recs {
			recs[i] = started(fmt.Sprint("p", n), noon.Add(-time.Duration(n)*time.Second))
			recs[i].Queue = fmt.Sprint("q", n%3)
			n++
		}
		mustAppend(t, db, recs...)
		if _, err := db.compact.Park(ctx, db.cuttable(), each, true); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, db, finished("f", noon))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	if n := db.compact.Parked().Rows(); n != rows {
		t.Fatalf("%d are parked", n)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(5)) // the heap is what is held
	var count Count
	held := heldBy(func() {
		var err error
		if count, err = db.Count(ctx, CountQuery{Filter: task.Filter{Open: true}, By: "queue"}); err != nil {
			t.Fatal(err)
		}
	})
	if want := []GroupCount{{"q0", rows/3 + 1}, {"q1", rows/3 + 1}, {"q2", rows / 3}}; count.Total != rows || !slices.Equal(count.Groups, want) {
		t.Errorf("%d, %v", count.Total, count.Groups)
	}
	if held > 5<<20 {
		t.Errorf("counting %d parked rows held %d KiB", rows, held>>10)
	}
	met := map[string]int{}
	_, err := db.walk(ctx, Query{}, anyOrder, func(v *task.Invocation) (bool, error) {
		if len(met) == 0 {
			mustAppend(t, db, finished(v.TaskID, noon))
			if _, err := db.Cut(ctx, false); err != nil {
				t.Fatal(err)
			}
		}
		met[v.TaskID]++
		return true, nil
	})
	for id, n := range met {
		if n != 1 {
			t.Errorf("%s comes %d times", id, n)
		}
	}
	if err != nil || len(met) != rows+1 {
		t.Errorf("%d are met: %v", len(met), err)
	}
	mustAppend(t, db, started("parked meanwhile", noon))
	snap := db.head.Snapshot()
	if n, err := db.compact.Park(ctx, db.cuttable(), 1, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	view := db.catalog.View()
	defer view.Release()
	times := 0
	_, err = db.walkIn(ctx, &snap, view, nil, Query{Filter: task.Filter{From: noon.UnixMicro()}}, anyOrder, func(v *task.Invocation) (bool, error) {
		if v.TaskID == "parked meanwhile" {
			times++
		}
		return true, nil
	})
	if times != 1 || err != nil {
		t.Errorf("what is in the snapshot and parked is met %d times: %v", times, err)
	}
}
