package ingest

import (
	"fmt"
	"testing"
	"time"

	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

// beatAt is a heartbeat of w@pod-1 at a second.
func (t *tracker) beatAt(second, processed int64) {
	t.heard(&celery.Worker{Type: "worker-heartbeat", Hostname: "w@pod", At: second * 1e6, Processed: processed}, 7, time.Unix(second, 0), (second+3600)*1e6)
}

func (t *tracker) starts(second int64, n int) {
	for range n {
		t.startedAt(&task.Event{State: task.StateStarted, Worker: "w@pod", At: second*1e6 + 1}, 7)
	}
}

func TestWorkersLosses(t *testing.T) {
	tr := newTracker()
	group := func() Group { return tr.snapshot(time.Unix(100, 0))[0] }
	tr.starts(1, 5) // nobody knows this worker yet
	tr.beatAt(2, 1000)
	tr.starts(2, 10)
	tr.beatAt(4, 1010)
	tr.starts(4, 10)
	tr.beatAt(6, 1020)
	if g := group(); g.Processed != 10 || g.Lost != 0 || g.Workers != 1 || g.Name != "pod" || g.LastEventAt != 6e6 {
		t.Fatalf("%+v", g)
	}
	// The heartbeat overtakes: three of these come after it.
	tr.starts(6, 7)
	tr.beatAt(8, 1030)
	tr.starts(6, 3)
	tr.beatAt(10, 1030)
	if g := group(); g.Processed != 30 || g.Lost != 0 {
		t.Fatalf("%+v", g)
	}
	// Now 40 of 100 are lost.
	tr.starts(10, 60)
	tr.beatAt(12, 1130)
	tr.beatAt(14, 1130)
	if g := group(); g.Lost != 40 || !g.Losing() {
		t.Fatalf("%+v", g)
	}
	// An answer to an inspection says nothing; a farewell takes it off the list.
	tr.heard(&celery.Worker{Type: "worker-heartbeat", Hostname: "w@pod", At: 15e6, Processed: -1}, 7, time.Unix(15, 0), 1e12)
	tr.heard(&celery.Worker{Type: "worker-offline", Hostname: "w@pod", At: 16e6, Processed: 1130}, 7, time.Unix(16, 0), 1e12)
	if g := group(); g.Lost != 40 || g.Workers != 0 {
		t.Fatalf("%+v", g)
	}
}

// A worker without -E sends heartbeats, and no event of the tasks that they count.
func TestWorkersWithoutTaskEvents(t *testing.T) {
	tr := newTracker()
	for i := range int64(5) {
		tr.beatAt(2*i+2, 10*i)
	}
	if g := tr.snapshot(time.Unix(12, 0))[0]; g.Processed != 30 || g.Lost != 30 || !g.Losing() {
		t.Fatalf("%+v", g)
	}
}

func TestWorkersAreNotBlamedForGaps(t *testing.T) {
	tr := newTracker()
	tr.beatAt(2, 0)
	tr.beatAt(4, 0)
	tr.missed()
	tr.beatAt(60, 5000) // what was started meanwhile was not heard
	tr.starts(60, 10)
	tr.beatAt(62, 5010)
	tr.beatAt(64, 5010)
	if g := tr.snapshot(time.Unix(64, 0))[0]; g.Processed != 10 || g.Lost != 0 {
		t.Fatalf("%+v", g)
	}
	// The counter begins anew when the process does, should the id be the same.
	tr.beatAt(66, 3)
	tr.beatAt(68, 3)
	if g := tr.snapshot(time.Unix(68, 0))[0]; g.Lost != 0 {
		t.Fatalf("%+v", g)
	}
	if g := tr.snapshot(time.Unix(6800, 0))[0]; g.Workers != 0 || len(tr.workers) != 0 {
		t.Fatalf("%+v %v", g, tr.workers)
	}
}

// TestGroupsAgeAndAreForgotten: losses are told for some hours, a group for a day.
func TestGroupsAgeAndAreForgotten(t *testing.T) {
	tr := newTracker()
	tr.beatAt(2, 0)
	tr.beatAt(4, 100)
	tr.beatAt(6, 100)
	at := func(second int64) Group { return tr.snapshot(time.Unix(second, 0))[0] }
	if g := at(3000); g.Lost != 100 || !g.Losing() {
		t.Fatalf("%+v", g)
	}
	if g := at(4000); !g.Losing() {
		t.Fatalf("%+v", g)
	}
	if g := at(8000); g.Lost != 100 || g.Losing() {
		t.Fatalf("%+v", g)
	}
	if all := tr.snapshot(time.Unix(25*3600, 0)); len(all) != 0 {
		t.Fatalf("%+v", all)
	}
}

// TestWrongClocksOfWorkers: heartbeats of the future say nothing, and a clock
// that is set back is measured again.
func TestWrongClocksOfWorkers(t *testing.T) {
	tr := newTracker()
	w := func(at, processed int64) *celery.Worker {
		return &celery.Worker{Type: "worker-heartbeat", Hostname: "w@pod", At: at * 1e6, Processed: processed}
	}
	now := time.Unix(1000, 0)
	for _, wrong := range []int64{1_000_000, 2000} { // beyond what is believed, and not
		tr.heard(w(wrong, 0), 7, now, 4600e6)
		tr.heard(w(1000, 0), 7, now, 4600e6)
		tr.heard(w(1002, 50), 7, now, 4600e6)
		tr.heard(w(1004, 50), 7, now, 4600e6)
		g := tr.snapshot(now)[0]
		if g.Lost != 50 || g.LastEventAt > 2000e6 {
			t.Fatalf("%d: %+v", wrong, g)
		}
		tr = newTracker()
	}
}

// TestEventsOfTheFuture do not hide that none come any more.
func TestEventsOfTheFuture(t *testing.T) {
	f, _, _, _ := newTestFeed(t, sinkFunc(nil)) // it is second 1000
	for _, at := range []int64{900, 1000 + 3600, 1000 + 3601, 4_000_000_000} {
		items, err := new(celery.Decoder).Events(fmt.Appendf(nil, `[{"type":"task-started","uuid":"a","timestamp":%d},{"type":"worker-heartbeat","hostname":"w@pod","timestamp":%d,"processed":1}]`, at, at))
		f.Add(items, err)
	}
	if st := f.Status(); st.LastEventAt != 4600e6 || st.Groups[0].LastEventAt != 4600e6 {
		t.Errorf("%+v", st)
	}
}
