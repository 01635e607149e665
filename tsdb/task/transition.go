package task

import (
	"cmp"
	"slices"
)

// RetriesUnknown is the attempt of a transition whose event did not name one.
const RetriesUnknown int32 = -1

// NewestTransitions is how many of the newest transitions are kept, beside
// the first and the decisive one.
const NewestTransitions = 30

// Transition is one step in an invocation's life, as somebody stated it.
// (At, State, Worker) identify it; Retries and ExceptionType are what is known
// of it, the greater value winning when two statements of one step differ.
type Transition struct {
	At            int64 // microseconds since the epoch
	Worker        string
	ExceptionType string // of RETRY and the finished states only
	Retries       int32  // the attempt, from 0; RetriesUnknown if not stated
	State         State
}

// compare orders transitions by time, then rank, then worker: the key order.
func (t *Transition) compare(o *Transition) int {
	if c := cmp.Compare(t.At, o.At); c != 0 {
		return c
	}
	if c := cmp.Compare(t.State, o.State); c != 0 {
		return c
	}
	return cmp.Compare(t.Worker, o.Worker)
}

// beats reports whether the finished transition t decides over the finished o.
func (t *Transition) beats(o *Transition) bool {
	if c := cmp.Compare(t.State.class(), o.State.class()); c != 0 {
		return c > 0
	}
	return t.compare(o) > 0
}

// announces reports whether t is a task-received or task-sent that names its
// attempt: the only events that do.
func (t *Transition) announces() bool {
	return (t.State == StateReceived || t.State == StateSent) && t.Retries >= 0
}

// mergeTransitions returns the bounded union of two canonical sets. It never
// changes its arguments and may return one of them.
func mergeTransitions(a, b []Transition) []Transition {
	if len(b) == 0 || slices.Equal(a, b) {
		return a
	}
	if len(a) == 0 {
		return b
	}
	out := make([]Transition, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := a[0].compare(&b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			t := a[0]
			t.Retries = max(t.Retries, b[0].Retries)
			t.ExceptionType = max(t.ExceptionType, b[0].ExceptionType)
			out, a, b = append(out, t), a[1:], b[1:]
		}
	}
	out = append(append(out, a...), b...)
	return bound(out)
}

// canonicalTransitions sorts ts in place, joins equal steps and bounds the set.
func canonicalTransitions(ts []Transition) []Transition {
	if len(ts) > 1 {
		slices.SortFunc(ts, func(x, y Transition) int { return x.compare(&y) })
		n := 0
		for _, t := range ts[1:] {
			if ts[n].compare(&t) == 0 {
				ts[n].Retries = max(ts[n].Retries, t.Retries)
				ts[n].ExceptionType = max(ts[n].ExceptionType, t.ExceptionType)
				continue
			}
			n++
			ts[n] = t
		}
		ts = ts[:n+1]
	}
	return bound(ts)
}

// bound keeps, of a sorted set, the first, the decisive and the newest
// NewestTransitions. Each of the three is a maximum (or minimum) over a total
// order of the elements themselves, so that bounding early and bounding late
// give the same set: Merge stays associative. That is also why "the decisive"
// of an unfinished set is the announcement of its highest attempt, which does
// not depend on the other elements as a derived attempt would.
func bound(ts []Transition) []Transition {
	if len(ts) <= NewestTransitions+1 {
		return ts
	}
	cut := len(ts) - NewestTransitions
	keep := -1
	finished := false
	for i := range ts {
		if ts[i].State.Finished() && (!finished || ts[i].beats(&ts[keep])) {
			keep, finished = i, true
		}
		if !finished && ts[i].announces() && (keep < 0 || ts[i].Retries >= ts[keep].Retries) {
			keep = i
		}
	}
	out := make([]Transition, 0, NewestTransitions+2)
	out = append(out, ts[0])
	if keep > 0 && keep < cut {
		out = append(out, ts[keep])
	}
	return append(out, ts[cut:]...)
}

// attemptOf is the attempt that transition i of a canonical set belongs to:
// its own if stated, else that of the newest task-received from the same
// worker at or before it, else 0.
//
// A task-sent with retries n > 0 is the child process publishing the next
// attempt, almost always before its parent reports task-retried for attempt
// n-1. It belongs to the attempt that sent it, or a task waiting for its retry
// would read SENT instead of RETRY (docs/adr/0003-merge.md).
func attemptOf(ts []Transition, i int) int32 {
	t := &ts[i]
	if t.Retries >= 0 {
		if t.State == StateSent && t.Retries > 0 {
			return t.Retries - 1
		}
		return t.Retries
	}
	// Equal times: a received of the same microsecond counts as before.
	for j := len(ts) - 1; j >= 0; j-- {
		if r := &ts[j]; r.At <= t.At && r.State == StateReceived && r.Retries >= 0 && r.Worker == t.Worker {
			return r.Retries
		}
	}
	return 0
}

// decide picks the transition that states what the invocation has reached, or
// -1 if none does. A finished one wins over every unfinished one; among
// unfinished ones the attempt, then the time, then the rank decide.
func decide(ts []Transition) int {
	best, bestAttempt, finished := -1, int32(0), false
	for i := range ts {
		t := &ts[i]
		if t.State.Finished() {
			if !finished || t.beats(&ts[best]) {
				best, finished = i, true
			}
			continue
		}
		if finished || t.State == StateRequeued {
			continue
		}
		// ts is in (time, rank, worker) order: on equal attempts the later one wins.
		if a := attemptOf(ts, i); best < 0 || a >= bestAttempt {
			best, bestAttempt = i, a
		}
	}
	return best
}

// workerOf is the worker the invocation is shown with: the decisive
// transition's, else that of the newest transition that has one.
func workerOf(ts []Transition, decisive int) string {
	if decisive >= 0 && ts[decisive].Worker != "" {
		return ts[decisive].Worker
	}
	for i := len(ts) - 1; i >= 0; i-- {
		if ts[i].Worker != "" {
			return ts[i].Worker
		}
	}
	return ""
}
