package head

import (
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A floor beyond today is kept, but does not count: it counts again when the clock was
// behind, and goes when retention says what is right.
func TestFloorBeyondToday(t *testing.T) {
	const aDay = 24 * time.Hour
	dir, c := t.TempDir(), newClock()
	o := Options{Retention: 15 * aDay}
	h := open(t, dir, c, o)
	replay(t, h, none, nil)
	today := task.DayOf(c.now().UnixMicro())
	log := func(d task.Day) {
		t.Helper()
		if err := h.LogFloor(d); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want task.Day, wantWrong bool) {
		t.Helper()
		if f := h.Floor(); f != want {
			t.Errorf("%s the floor is %s, want %s", when, f, want)
		}
		if _, wrong := h.WrongFloor(); wrong != wantWrong {
			t.Errorf("%s wrong is %v", when, wrong)
		}
	}
	again := func() {
		h = open(t, dir, c, o)
		replay(t, h, none, nil)
	}
	log(today)
	check("today,", today, false)
	c.at = c.at.Add(-30 * aDay)
	check("with a clock behind", today-45, true)
	if err := h.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	again()
	check("after a checkpoint with a clock behind", today-45, true)
	c.at = c.at.Add(30 * aDay)
	check("with the clock right again", today, false)
	log(today + 25)
	check("a clock ahead was here:", today-15, true)
	h.AddGap(task.Gap{Source: "s", Cause: "c", From: today.Start(), To: today.Start() + 1})
	if n := len(h.EndedGaps(true)); n != 1 {
		t.Errorf("%d gaps", n)
	}
	log(today - 15)
	check("taken back,", today-15, false)
	log(today - 16)
	check("told an older one,", today-15, false)
	again()
	c.at = c.at.Add(30 * aDay)
	check("after a replay, when the wrong day has come,", today-15, false)
}

// Without retention by age nothing is said instead of it.
func TestFloorBeyondTodayWithoutRetention(t *testing.T) {
	c := newClock()
	h := open(t, t.TempDir(), c, Options{})
	replay(t, h, none, nil)
	if err := h.LogFloor(task.DayOf(c.now().UnixMicro()) + 1); err != nil {
		t.Fatal(err)
	}
	if f := h.Floor(); f != never {
		t.Errorf("the floor is %s", f)
	}
}

// What was touched before the clock went back is settled, and does not stand before
// what comes after it.
func TestClockGoesBack(t *testing.T) {
	c := newClock()
	h := open(t, t.TempDir(), c, Options{})
	replay(t, h, none, nil)
	add(t, h, event("before", task.StateSuccess, c.now().UnixMicro()), Base{})
	c.at = c.at.Add(-6 * time.Hour)
	add(t, h, event("after", task.StateSuccess, c.now().UnixMicro()), Base{})
	if n := len(h.Ready(false, 10)); n != 1 {
		t.Errorf("%d are settled at once", n)
	}
	c.at = c.at.Add(2 * time.Second)
	if n := len(h.Ready(false, 10)); n != 2 {
		t.Errorf("%d are settled", n)
	}
}

// Nothing is given up by a clock that is not steady.
func TestUnsteadyClock(t *testing.T) {
	c, steady := newClock(), false
	h := open(t, t.TempDir(), c, Options{Steady: func() bool { return steady }})
	replay(t, h, none, nil)
	add(t, h, event("open", task.StateStarted, c.now().UnixMicro()), Base{})
	add(t, h, event("done", task.StateSuccess, c.now().UnixMicro()), Base{})
	c.at = c.at.Add(48 * time.Hour)
	if n := len(h.Ready(true, 10)); n != 1 {
		t.Errorf("%d are ready while it is not", n)
	}
	if steady = true; len(h.Ready(true, 10)) != 2 {
		t.Error("not given up when it is")
	}
}
