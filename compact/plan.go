package compact

import (
	"slices"
	"time"

	"daybook/tsdb/task"
)

// quiet is how long a past day must not have been cut into before it is
// sealed: a stream of late rows is sealed once, at its end.
const quiet = 4 * time.Second

// foldFraction is the part of a sealed day that its overlay may grow to
// before it is folded in at once; smaller ones wait for the next midnight.
const foldFraction = 0.01

// dayState is what planning needs to know of a day.
type dayState struct {
	day         task.Day
	hasLive     bool
	hasSealed   bool
	liveRows    int64
	liveMasks   int64
	sealedRows  int64
	lastCut     time.Time // into the live file
	beingSealed bool
	shut        bool // a sealed file of the day cannot be opened
}

// planSeal returns the days to seal now, oldest first. force ignores the
// delay, the quiet time and the size of overlays. A day with a sealed file that
// cannot be opened is never among them. A cut at a time that is yet to come
// was made before the clock went back, or a file was touched by one that was ahead:
// it counts as long ago, or the day would wait until that time comes again.
func planSeal(now time.Time, states []dayState, delay time.Duration, force bool) []task.Day {
	today := task.DayOf(now.UnixMicro())
	var out []task.Day
	for _, s := range states {
		if s.day >= today || !s.hasLive || s.beingSealed || s.shut {
			continue
		}
		if force || s.due(now, delay) && now.Sub(s.cutAt(now)) >= quiet {
			out = append(out, s.day)
		}
	}
	slices.Sort(out)
	return out
}

// planWaiting counts the days that wait to be sealed: those that are due, also while they
// are cut into again and again or are being sealed. Of a day that planSeal takes at its
// next look, or the one after, none is left here minutes later unless sealing fails.
func planWaiting(now time.Time, states []dayState, delay time.Duration) int {
	n := 0
	for _, s := range states {
		if s.day < task.DayOf(now.UnixMicro()) && s.hasLive && !s.shut && s.due(now, delay) {
			n++
		}
	}
	return n
}

// due reports whether it is time to seal a past day that has a live file.
func (s *dayState) due(now time.Time, delay time.Duration) bool {
	if now.Before(time.UnixMicro(s.day.End()).Add(delay)) {
		return false
	}
	if !s.hasSealed || float64(s.liveRows+s.liveMasks) > foldFraction*float64(s.sealedRows) {
		return true
	}
	midnight := time.UnixMicro(task.DayOf(now.UnixMicro()).Start())
	return s.cutAt(now).Before(midnight) && !now.Before(midnight.Add(delay))
}

// cutAt is lastCut, zero if that is yet to come.
func (s *dayState) cutAt(now time.Time) time.Time {
	if s.lastCut.Sub(now) >= quiet {
		return time.Time{}
	}
	return s.lastCut
}

// floorOf is the retention floor: the first day of which anything is kept. A
// retention of 0 keeps everything.
func floorOf(now time.Time, retention time.Duration) task.Day {
	if retention == 0 {
		return -1 << 30
	}
	return task.DayOf(now.Add(-retention).UnixMicro())
}

// planRetention returns the days below the floor, oldest first. Today and
// later days are never among them.
func planRetention(now time.Time, days []task.Day, floor task.Day) []task.Day {
	today := task.DayOf(now.UnixMicro())
	var out []task.Day
	for _, d := range days {
		if d < floor && d < today {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// clockGuard tells when the clock has jumped: deletion by age and giving up are
// paused then, for a wrong clock must not cost the data. Jumps are seen by comparing
// the time of day. A time.Time of this process also has a monotonic reading, which
// knows of no jumps and comes first when two are compared: it is taken off.
type clockGuard struct {
	seen   time.Time // when the clock was last looked at; zero if never
	paused time.Time // the pause lasts until then
}

const (
	// clockJump is what counts as a jump: the clocks of two looks in a row differ by more.
	clockJump  = time.Hour
	clockPause = time.Hour
)

// look notes the time and reports whether the clock has jumped since it was
// last seen, and whether there is a pause.
func (g *clockGuard) look(now time.Time) (jumped, paused bool) {
	now = now.Round(0)
	if !g.seen.IsZero() {
		if d := now.Sub(g.seen); d > clockJump || d < -clockJump {
			jumped = true
			g.paused = now.Add(clockPause)
		}
	}
	g.seen = now
	return jumped, now.Before(g.paused)
}

// until is when the pause ends; zero if there is none.
func (g *clockGuard) until(now time.Time) time.Time {
	if now.Round(0).Before(g.paused) {
		return g.paused
	}
	return time.Time{}
}

// unknownTime is when the clock was last seen in a directory that has days and does
// not tell: any time is a jump from there.
var unknownTime = time.Unix(0, 0)

// lastSeen is when a daemon last ran in a directory, for clockGuard: zero if none has,
// and nothing is there that could be deleted. locked is what LOCK says, days are those that have files.
// Copied without its time LOCK has that of the copy; but a daemon always has a file of the
// next day, and so none has run since the end of the newest.
func lastSeen(locked time.Time, days []task.Day) time.Time {
	switch {
	case len(days) == 0:
		return locked
	case locked.IsZero():
		return unknownTime
	}
	if end := time.UnixMicro(slices.Max(days).End()); end.Before(locked) {
		return end
	}
	return locked
}

// victim is something that retention can delete: a day, a snapshot, or a
// legacy file, which counts as the day of its newest row.
type victim struct {
	day      task.Day
	snapshot string // its directory; empty for the others
	legacy   string // its path; empty for the others
	frees    int64  // bytes that deleting it gives back
}

// isDay reports whether deleting it raises the floor.
func (v *victim) isDay() bool { return v.snapshot == "" && v.legacy == "" }

// planSpace returns the victims, of those offered in the order in which they
// would go, that bring a total down by excess bytes; what frees nothing is
// passed over, except that snapshots go before days: they may be why a day
// would free something. enough says whether that does: where it does not, and
// the excess is other people's, deleting would be in vain.
func planSpace(excess int64, offered []victim) (chosen []victim, enough bool) {
	var freed int64
	var snapshots []victim // that free nothing themselves
	for _, v := range offered {
		switch {
		case freed >= excess:
			return chosen, true
		case v.frees == 0 && v.snapshot != "":
			snapshots = append(snapshots, v)
			continue
		case v.frees == 0:
			continue
		case v.snapshot == "":
			chosen = append(chosen, snapshots...)
			snapshots = nil
		}
		chosen = append(chosen, v)
		freed += v.frees
	}
	return chosen, freed >= excess
}

// diskExcess is how many bytes have to go for a file system to be used no more
// than percent.
func diskExcess(d disk, percent float64) int64 {
	if percent <= 0 || d.size <= 0 {
		return 0
	}
	return max(0, d.used-int64(percent/100*float64(d.size)))
}
