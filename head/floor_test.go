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
