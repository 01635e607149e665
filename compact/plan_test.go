package compact

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"daybook/tsdb/task"
)

func theDay(s string) task.Day {
	d, err := task.ParseDay(s)
	if err != nil {
		panic(err)
	}
	return d
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// A day waits to be sealed while planSeal would take it, and while it is cut into or
// sealed; late rows that wait for midnight are none of that.
func TestPlanWaiting(t *testing.T) {
	yesterday := theDay("2026-11-22")
	for _, c := range []struct {
		name  string
		now   string
		state dayState
		want  int
	}{
		{"before the delay", "2026-11-23T00:59:59Z", dayState{day: yesterday, hasLive: true}, 0},
		{"not sealed", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true}, 1},
		{"cut into without a pause", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, lastCut: at("2026-11-23T05:00:00Z")}, 1},
		{"being sealed", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, beingSealed: true}, 1},
		{"sealed", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasSealed: true}, 0},
		{"today", "2026-11-22T23:00:00Z", dayState{day: yesterday, hasLive: true}, 0},
		{"its sealed file cannot be opened", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, shut: true}, 0},
		{"one late row", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, hasSealed: true, liveRows: 1, sealedRows: 1000, lastCut: at("2026-11-23T04:00:00Z")}, 0},
		{"one late row of before midnight", "2026-11-24T01:00:00Z", dayState{day: yesterday, hasLive: true, hasSealed: true, liveRows: 1, sealedRows: 1000, lastCut: at("2026-11-23T04:00:00Z")}, 1},
		{"many late rows", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, hasSealed: true, liveRows: 11, sealedRows: 1000, lastCut: at("2026-11-23T05:00:00Z")}, 1},
	} {
		if got := planWaiting(at(c.now), []dayState{c.state}, time.Hour); got != c.want {
			t.Errorf("%s: %d", c.name, got)
		}
	}
}

func TestPlanSeal(t *testing.T) {
	yesterday := theDay("2026-11-22")
	for _, c := range []struct {
		name  string
		now   string
		state dayState
		force bool
		want  bool
	}{
		{"before the delay", "2026-11-23T00:59:59Z", dayState{day: yesterday, hasLive: true}, false, false},
		{"at the delay", "2026-11-23T01:00:00Z", dayState{day: yesterday, hasLive: true}, false, true},
		{"before the delay, forced", "2026-11-23T00:00:01Z", dayState{day: yesterday, hasLive: true}, true, true},
		{"just cut into", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, lastCut: at("2026-11-23T04:59:59Z")}, false, false},
		{"quiet again", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, lastCut: at("2026-11-23T04:59:56Z")}, false, true},
		{"today", "2026-11-22T23:00:00Z", dayState{day: yesterday, hasLive: true}, true, false},
		{"tomorrow", "2026-11-21T23:00:00Z", dayState{day: yesterday, hasLive: true}, true, false},
		{"nothing live", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasSealed: true}, true, false},
		{"being sealed", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, beingSealed: true}, true, false},
		{"its sealed file cannot be opened", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, shut: true}, true, false},
		{"small overlay of today", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, hasSealed: true, liveRows: 1, sealedRows: 1000, lastCut: at("2026-11-23T04:00:00Z")}, false, false},
		{"large overlay", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, hasSealed: true, liveRows: 6, liveMasks: 5, sealedRows: 1000, lastCut: at("2026-11-23T04:00:00Z")}, false, true},
		{"cut into before the clock went back", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, lastCut: at("2026-11-23T07:00:00Z")}, false, true},
		{"cut into while this was asked", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, lastCut: at("2026-11-23T05:00:01Z")}, false, false},
		{"small overlay of before the clock went back", "2026-11-23T05:00:00Z", dayState{day: yesterday, hasLive: true, hasSealed: true, liveRows: 1, sealedRows: 1000, lastCut: at("2026-11-25T04:00:00Z")}, false, true},
		{"small overlay after the next midnight", "2026-11-24T01:00:00Z", dayState{day: yesterday, hasLive: true, hasSealed: true, liveRows: 1, sealedRows: 1000, lastCut: at("2026-11-23T04:00:00Z")}, false, true},
	} {
		got := planSeal(at(c.now), []dayState{c.state}, time.Hour, c.force)
		if (len(got) == 1) != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	got := planSeal(at("2026-11-24T12:00:00Z"), []dayState{{day: yesterday, hasLive: true}, {day: yesterday - 3, hasLive: true}}, 0, false)
	if !slices.Equal(got, []task.Day{yesterday - 3, yesterday}) {
		t.Errorf("not the oldest first: %v", got)
	}
}

func TestPlanRetention(t *testing.T) {
	now := at("2026-11-23T12:00:00Z")
	if f := floorOf(now, 0); f > -1_000_000 {
		t.Errorf("a retention of 0 has the floor %s", f)
	}
	floor := floorOf(now, 48*time.Hour)
	if floor != theDay("2026-11-21") {
		t.Errorf("floor %s", floor)
	}
	days := []task.Day{theDay("2026-11-23"), theDay("2026-11-20"), theDay("2026-11-21"), theDay("2026-11-19")}
	if got := planRetention(now, days, floor); !slices.Equal(got, []task.Day{theDay("2026-11-19"), theDay("2026-11-20")}) {
		t.Errorf("%v", got)
	}
	// Whatever the floor, today and later stay.
	if got := planRetention(now, days, theDay("2027-01-01")); slices.Contains(got, theDay("2026-11-23")) {
		t.Errorf("today goes: %v", got)
	}
}

func TestClockGuard(t *testing.T) {
	var g clockGuard
	now := at("2026-11-23T12:00:00Z")
	if jumped, paused := g.look(now); jumped || paused {
		t.Error("a clock seen for the first time has not jumped")
	}
	for range 100 {
		now = now.Add(time.Minute)
		if jumped, paused := g.look(now); jumped || paused {
			t.Fatal("a clock that goes on has not jumped")
		}
	}
	now = now.Add(-2 * time.Hour)
	if jumped, paused := g.look(now); !jumped || !paused {
		t.Error("back by two hours")
	}
	if jumped, paused := g.look(now.Add(59 * time.Minute)); jumped || !paused {
		t.Error("the pause lasts an hour")
	}
	if _, paused := g.look(now.Add(60 * time.Minute)); paused {
		t.Error("the pause is over")
	}
}

// A clock of the process does not show jumps unless it is asked for the time of day.
func TestClockGuardLooksAtTheTimeOfDay(t *testing.T) {
	var g clockGuard
	g.look(time.Now())
	if g.seen != g.seen.Round(0) {
		t.Error("the time has a monotonic reading, which no jump shows in")
	}
}

func TestLastSeen(t *testing.T) {
	newest := []task.Day{theDay("2026-11-20"), theDay("2026-11-24"), theDay("2026-11-22")}
	for _, c := range []struct {
		name   string
		locked time.Time
		days   []task.Day
		want   time.Time
	}{
		{"a new directory", time.Time{}, nil, time.Time{}},
		{"nothing stored yet", at("2026-11-23T12:00:00Z"), nil, at("2026-11-23T12:00:00Z")},
		{"a daemon ran", at("2026-11-23T12:00:00Z"), newest, at("2026-11-23T12:00:00Z")},
		{"nothing tells", time.Time{}, newest, unknownTime},
		{"a later time than a daemon can have run at", at("2027-03-01T12:00:00Z"), newest, at("2026-11-25T00:00:00Z")},
	} {
		if got := lastSeen(c.locked, c.days); !got.Equal(c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestPlanSpace(t *testing.T) {
	offered := []victim{{snapshot: "a", frees: 5}, {snapshot: "b", frees: 0}, {day: 1, frees: 10}, {day: 2, frees: 0}, {day: 3, frees: 30}, {day: 4, frees: 100}}
	for _, c := range []struct {
		excess int64
		want   string
		enough bool
	}{
		{0, "", true},
		{5, "a ", true}, // b would give nothing back
		{6, "a b 1 ", true},
		{16, "a b 1 3 ", true},
		{145, "a b 1 3 4 ", true},
		{146, "a b 1 3 4 ", false},
	} {
		chosen, enough := planSpace(c.excess, offered)
		var got string
		for _, v := range chosen {
			if got += v.snapshot; v.snapshot == "" {
				got += fmt.Sprint(int(v.day))
			}
			got += " "
		}
		if got != c.want || enough != c.enough {
			t.Errorf("excess %d: %v %v", c.excess, got, enough)
		}
	}
	if diskExcess(disk{size: 1000, used: 950}, 90) != 50 || diskExcess(disk{size: 1000, used: 900}, 90) != 0 || diskExcess(disk{size: 1000, used: 999}, 0) != 0 {
		t.Error("diskExcess")
	}
}
