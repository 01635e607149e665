package tsdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// A sealed day whose rollups count waits by the first rule, by which an eta
// without sent_at was none, keeps it until it is sealed again: sums and verify
// are of one rule, whatever is replaced in the day meanwhile.
func TestFirstWaitRule(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	from := noon.Add(-25 * time.Hour)
	run := func(id string, wait, countdown time.Duration, queue string) Record {
		t.Helper()
		at := func(d time.Duration) string { return from.Add(d).Format(time.RFC3339Nano) }
		v, err := task.ParseJSON(fmt.Appendf(nil, `{"task_id":%q,"task_name":"t","queue":%q,"received_at":%q,"eta":%q,"started_at":%q,"finished_at":%q,"runtime_ms":1}`,
			id, queue, at(0), at(countdown), at(countdown+wait), at(countdown+wait)))
		if err != nil {
			t.Fatal(err)
		}
		return Record{Invocation: v}
	}
	a, b := run("a", 100*time.Second, 20*time.Second, ""), run("b", 102*time.Second, 20*time.Second, "")
	mustAppend(t, db, a, b)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	var first, second rollup.Rollup
	for _, r := range []Record{a, b} {
		second.Add(&r.Invocation)
		old := r.Invocation
		old.ETA = 0
		first.Add(&old)
	}
	newData, oldData := second.AppendBinary(nil), first.AppendBinary(nil)
	if len(newData) != len(oldData) {
		t.Fatalf("the test needs rollups of one length: %x, %x", newData, oldData)
	}
	files, err := filepath.Glob(filepath.Join(o.Dir, "days", "2026-11-22*.db"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	db.crash(t)
	rewrite(t, files[0], newData, oldData)
	rewrite(t, files[0], []byte("wait_rule"), []byte("wait_rulX"))
	if err := os.Remove(files[0] + ".sha256"); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	defer db.crash(t)
	check := func(when string, least, most float64) {
		t.Helper()
		for range 2 { // what is remembered, too
			list, _, err := db.Tasks(ctx, from.UnixMicro(), noon.UnixMicro(), "")
			if err != nil || len(list) != 1 || list[0].Total != 2 || list[0].Wait.Count != 2 || list[0].Runtime.Count != 2 {
				t.Fatalf("%s: %+v, %v", when, list, err)
			}
			if w := list[0].Wait; w.Min < least*0.98 || w.Min > least*1.02 || w.Max < most*0.98 || w.Max > most*1.02 || w.P50 < least*0.99 || w.P50 > least*1.01 {
				t.Errorf("%s: %+v, want %v and %v", when, w, least, most)
			}
		}
		err := db.Verify(ctx, nil, func(f Finding) {
			if !f.Note {
				t.Errorf("%s: %+v", when, f)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	check("as it was", 120_000, 122_000)
	mustAppend(t, db, run("a", 100*time.Second, 20*time.Second, "late"))
	check("one in the head", 100_000, 122_000)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	check("one in the overlay", 120_000, 122_000)
	mustAppend(t, db, run("a", 100*time.Second, 20*time.Second, "later"))
	check("one in the head again", 100_000, 122_000)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	check("sealed again", 100_000, 102_000)
}
