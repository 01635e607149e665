package tsdb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// TestRatePerMin counts what ended in the last five minutes, in the head and in
// a live file, across the start of an hour; of the minute in which they begin, in
// proportion.
func TestRatePerMin(t *testing.T) {
	t.Parallel()
	c := &testClock{at: time.Date(2026, 11, 23, 11, 2, 30, 0, time.UTC)}
	db := running(t, testOptions(t.TempDir(), c))
	ctx := context.Background()
	post := func(id string, ago time.Duration) {
		t.Helper()
		v, err := task.ParseJSON(fmt.Appendf(nil, `{"task_id":%q,"task_name":"n","finished_at":%d}`, id, c.now().Add(-ago).Unix()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Append(ctx, []Record{{Invocation: v}}); err != nil {
			t.Fatal(err)
		}
	}
	post("before", 6*time.Minute)
	post("first", 5*time.Minute+30*time.Second)
	post("middle", 3*time.Minute)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	post("last", 10*time.Second)
	now := c.now().UnixMicro()
	list, _, err := db.Tasks(ctx, now-3_600_000_000, now+1, "")
	if err != nil || len(list) != 1 || list[0].Total != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	if want := (2 + 0.5) / 5; list[0].RatePerMin != want {
		t.Errorf("%v a minute, want %v", list[0].RatePerMin, want)
	}
}
