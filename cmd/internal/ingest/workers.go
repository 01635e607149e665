package ingest

import (
	"slices"
	"strings"
	"time"

	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

const (
	maxWorkers    = 10_000
	forgetWorkers = 10 * time.Minute // without a sign of life
	forgetGroups  = 24 * time.Hour   // the same
	recently      = time.Hour        // losses are recent for one to two of these
	setBack       = int64(30e6)      // microseconds by which no heartbeat is late
)

// worker identifies a worker process: its counter begins anew with each.
type worker struct {
	host string
	pid  int64
}

// beat is what a heartbeat said.
type beat struct {
	at        int64
	processed int64
}

// tally compares what a worker says it started with what arrived. A heartbeat
// overtakes the events of the seconds before it, so it is only judged when the
// next one arrives.
type tally struct {
	group   string
	seen    time.Time // arrival
	base    beat      // at 0: not measured yet
	judged  beat
	pending beat
	started int64 // between base and judged
	later   []int64
	counted int64 // of Group.Processed
	lost    int64 // of Group.Lost: never shrinks
	left    bool
}

// tracker follows workers. It has no lock of its own.
type tracker struct {
	workers map[worker]*tally
	groups  map[string]*group
}

// group is a Group, and what is recent of it.
type group struct {
	Group
	heard     time.Time
	since     time.Time // of cur
	cur, last measured  // in this period and in the one before it
}

type measured struct{ processed, lost int64 }

// count adds what was measured.
func (g *group) count(processed, lost int64) {
	g.Processed, g.Lost = g.Processed+processed, g.Lost+lost
	g.cur.processed, g.cur.lost = g.cur.processed+processed, g.cur.lost+lost
}

// age begins another period when it is time.
func (g *group) age(now time.Time) {
	switch passed := now.Sub(g.since); {
	case passed >= 2*recently:
		g.last, g.cur, g.since = measured{}, measured{}, now
	case passed >= recently:
		g.last, g.cur, g.since = g.cur, measured{}, now
	}
}

func newTracker() *tracker {
	return &tracker{workers: make(map[worker]*tally), groups: make(map[string]*group)}
}

func (t *tracker) group(name string) *group {
	g := t.groups[name]
	if g == nil {
		g = &group{Group: Group{Name: name}}
		t.groups[name] = g
	}
	return g
}

// heard is called with every worker event. What is said for a time after latest
// comes from a wrong clock, and is only a sign of life.
func (t *tracker) heard(w *celery.Worker, pid int64, now time.Time, latest int64) {
	name := task.WorkerGroup(w.Hostname)
	g := t.group(name)
	g.heard = now
	g.age(now)
	if w.At <= latest {
		g.LastEventAt = max(g.LastEventAt, w.At)
	}
	id := worker{w.Hostname, pid}
	y := t.workers[id]
	if y == nil {
		if len(t.workers) >= maxWorkers {
			t.forget(now)
		}
		if len(t.workers) >= maxWorkers {
			return
		}
		y = &tally{group: name}
		t.workers[id] = y
	}
	y.seen, y.left = now, w.Type == "worker-offline"
	if w.At == 0 || w.At > latest || w.Processed < 0 {
		return // the answer to an inspection says nothing of processed
	}
	y.beat(g, beat{w.At, w.Processed})
}

// beat judges the heartbeat before this one.
func (y *tally) beat(g *group, b beat) {
	switch {
	case y.base.at == 0 || b.processed < y.pending.processed || b.at < y.pending.at-setBack: // which is a clock that was
		y.rebase()
		y.base, y.judged, y.pending = b, b, b
		return
	case b.at <= y.pending.at:
		return // repeated, or late
	}
	rest := y.later[:0]
	for _, at := range y.later {
		switch {
		case at > y.pending.at:
			rest = append(rest, at)
		case at > y.base.at:
			y.started++
		}
	}
	y.later = rest
	y.judged, y.pending = y.pending, b
	growth := y.judged.processed - y.base.processed
	lost := max(growth-y.started, y.lost)
	g.count(growth-y.counted, lost-y.lost)
	y.counted, y.lost = growth, lost
}

// rebase forgets what was measured: the next heartbeat is a new beginning.
func (y *tally) rebase() {
	*y = tally{group: y.group, seen: y.seen, left: y.left}
}

// startedAt is called with every task-started event.
func (t *tracker) startedAt(ev *task.Event, pid int64) {
	y := t.workers[worker{ev.Worker, pid}]
	if y == nil || y.base.at == 0 {
		return
	}
	const most = 1 << 14 // between two heartbeats
	if len(y.later) < most {
		y.later = append(y.later, ev.At)
		return
	}
	y.rebase()
}

// missed is called when events were lost on the way here: that is not the
// workers' fault.
func (t *tracker) missed() {
	for _, y := range t.workers {
		y.rebase()
	}
}

func (t *tracker) forget(now time.Time) {
	for id, y := range t.workers {
		if now.Sub(y.seen) > forgetWorkers {
			delete(t.workers, id)
		}
	}
	for name, g := range t.groups {
		if now.Sub(g.heard) > forgetGroups {
			delete(t.groups, name)
		}
	}
}

// snapshot lists the groups that have been heard of.
func (t *tracker) snapshot(now time.Time) []Group {
	t.forget(now)
	present := make(map[string]int)
	for _, y := range t.workers {
		if !y.left {
			present[y.group]++
		}
	}
	all := make([]Group, 0, len(t.groups))
	for name, g := range t.groups {
		g.age(now)
		shown := g.Group
		shown.Workers = present[name]
		shown.RecentlyProcessed, shown.RecentlyLost = g.cur.processed+g.last.processed, g.cur.lost+g.last.lost
		all = append(all, shown)
	}
	slices.SortFunc(all, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return all
}
