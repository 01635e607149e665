package tsdb

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/head"
	"daybook/tsdb/task"
)

// While the disk is nearly full, details of successes are left out when they
// are cut; failures keep theirs.
func TestDetailsAreShed(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o, reg := testOptions(t.TempDir(), c), prometheus.NewRegistry()
	o.Metrics, o.DetailRate = reg, 1
	db := start(t, o)
	defer db.Close()
	rec := func(id string, s task.State) Record {
		e := task.Event{TaskID: id, TaskName: "t", State: s, At: noon.UnixMicro(), Args: "(1,)", Result: "r", ExceptionMessage: "m", Retries: 0}
		return Record{Invocation: e.Invocation()}
	}
	mustAppend(t, db, rec("a", task.StateSuccess), rec("b", task.StateFailure))
	db.thin.bare.Store(true) // as shed does
	if h := db.Health(); !strings.Contains(strings.Join(h.Reasons, ";"), "successes are left out") || !h.CanStore {
		t.Errorf("%+v", h)
	}
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"a": "args,result", "b": ""} {
		v, err := db.Get(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(v.Truncated.Names(), ","); got != want {
			t.Errorf("%s: truncated %q, want %q", id, got, want)
		}
	}
	db.shedding.ample.Store(nil)
	mustAppend(t, db, rec("c", task.StateSuccess)) // there is room: it ends
	if db.thin.bare.Load() {
		t.Error("details are shed on a disk with room")
	}
	if n := value(t, reg, "daybook_details_left_out_total"); n != 1 {
		t.Errorf("%v are counted for want of room, want 1", n)
	}
	bare := rec("d", task.StateSuccess) // has nothing that could be left out
	bare.Args, bare.Outcome.Result = "", ""
	mustAppend(t, db, bare, rec("e", task.StateSuccess))
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if n := value(t, reg, "daybook_details_left_out_total"); n != 3 { // of c, d and e one keeps what it has
		t.Errorf("%v are counted in all, want 3", n)
	}
}

// A request that the disk has no room for is refused before it is in memory,
// and leaves a gap.
func TestDiskHasNoRoom(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	db := start(t, testOptions(t.TempDir(), c))
	defer db.Close()
	free, _, err := db.diskRoom(0)
	if err != nil {
		t.Fatal(err)
	}
	db.noteShed(3, 0, free)
	db.noteShed(4, 0, free) // within the same second
	page, err := db.Select(context.Background(), Query{Limit: 1})
	if err != nil || len(page.Coverage.Gaps) != 1 || page.Coverage.Gaps[0].Cause != "disk full" || page.Coverage.Gaps[0].From != noon.UnixMicro() {
		t.Errorf("%+v %v", page.Coverage, err)
	}
	if err := db.shed(context.Background(), head.Encode(nil)); err != nil || errors.Is(err, ErrDiskFull) {
		t.Error(err)
	}
	if db.shedding.need != 0 {
		t.Error("it is not over")
	}
}
