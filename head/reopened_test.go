package head

import (
	"testing"

	"daybook/tsdb/task"
)

// What is open though a day has a row of it is given up again with its last event, but
// never before today; while the clock is not steady today is not known.
func TestReopened(t *testing.T) {
	t.Parallel()
	c, steady := newClock(), true
	h := open(t, t.TempDir(), c, Options{Steady: func() bool { return steady }})
	replay(t, h, none, nil)
	now := c.now().UnixMicro()
	today := task.DayOf(now)
	based := func(id string, at int64) {
		row := event(id, task.StateStarted, at-1)
		row.GivenUpAt = at - 1
		add(t, h, event(id, task.StateStarted, at), Base{Inv: row, Rows: []*task.Invocation{row}})
	}
	based("old", today.Start()-5)
	based("new", now)
	add(t, h, event("open", task.StateStarted, now), Base{})
	check := func(what string, limit int, want map[string]int64) {
		t.Helper()
		got := h.Reopened(limit)
		if len(got) != len(want) {
			t.Errorf("%s: %d", what, len(got))
		}
		for _, x := range got {
			if v := x.Inv; v.GivenUpAt != want[v.TaskID] || v.Open() || !x.Based || !h.Get(v.TaskID).Open() {
				t.Errorf("%s: %+v", what, v)
			}
		}
	}
	check("steady", 10, map[string]int64{"old": today.Start(), "new": now})
	check("the longest without an event", 1, map[string]int64{"old": today.Start()})
	steady = false
	check("not steady", 10, map[string]int64{"old": today.Start() - 5, "new": now})
	if err := h.LogFloor(today); err != nil {
		t.Fatal(err)
	}
	check("what would expire", 10, map[string]int64{"new": now})
}
