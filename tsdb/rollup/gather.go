package rollup

import (
	"slices"

	"daybook/tsdb/task"
)

// Gather counts many invocations of one task and bucket at a time. Sorting what
// they say and counting runs of it takes half the time of finding the place of
// each (BenchmarkGather). The zero Gather is empty.
type Gather struct {
	counts             Counts
	runtimes, waits    []int64
	workers            []int32 // places of their groups
	queues, exceptions []string

	part Rollup
}

// Add counts an invocation. group is the place of the group of v's worker in the
// ranks that Take is given. As with AddShared names are not copied.
func (g *Gather) Add(v *task.Invocation, group int32) {
	g.counts.add(v)
	if v.Outcome.HasRuntime {
		g.runtimes = append(g.runtimes, max(v.Outcome.Runtime, 0))
	}
	if wait, ok := v.WaitMicros(); ok {
		g.waits = append(g.waits, max(wait, 0))
	}
	if v.Worker != "" {
		g.workers = append(g.workers, group)
	}
	if v.Queue != "" {
		g.queues = append(g.queues, v.Queue)
	}
	if v.State != task.StateSuccess && v.Outcome.ExceptionType != "" {
		g.exceptions = append(g.exceptions, v.Outcome.ExceptionType)
	}
}

// Take returns what was counted, valid until the next Take, and empties g. groups
// are the groups of workers, ascending, and ranks their places there.
func (g *Gather) Take(ranks []int32, groups []string) *Rollup {
	for i, place := range g.workers {
		g.workers[i] = ranks[place]
	}
	p := &g.part
	p.Counts = g.counts
	p.Runtime.set(g.runtimes)
	p.Wait.set(g.waits)
	p.Workers.setRanked(g.workers, groups)
	p.Queues.set(g.queues)
	p.Exceptions.set(g.exceptions)
	g.counts = Counts{}
	clear(g.queues) // names may be parts of whole records
	clear(g.exceptions)
	g.runtimes, g.waits = g.runtimes[:0], g.waits[:0]
	g.workers, g.queues, g.exceptions = g.workers[:0], g.queues[:0], g.exceptions[:0]
	return p
}

// Forget lets go of the names of what was taken last.
func (g *Gather) Forget() { g.part.Reset() }

// set makes s the sketch of some durations, none of them negative, which it sorts.
func (s *Sketch) set(us []int64) {
	s.reset()
	if len(us) == 0 {
		return
	}
	slices.Sort(us)
	last := int32(-1)
	for _, v := range us {
		if i := indexOf(v); i != last {
			s.bins = append(s.bins, bin{index: i})
			last = i
		}
		s.bins[len(s.bins)-1].n++
		s.sum = s.sum.add(sum{lo: uint64(v)})
	}
	s.count, s.min, s.max = uint64(len(us)), us[0], us[len(us)-1]
}

// set makes t the counts of some names, none of them empty, which it sorts.
func (t *Top) set(names []string) {
	t.reset()
	slices.Sort(names)
	for _, name := range names {
		if n := len(t.entries); n == 0 || t.entries[n-1].name != name {
			t.entries = append(t.entries, entry{name: name})
			t.text += len(name)
		}
		t.entries[len(t.entries)-1].n++
	}
	t.letGo()
}

// setRanked is set of the names that some ranks are of.
func (t *Top) setRanked(ranks []int32, names []string) {
	t.reset()
	slices.Sort(ranks)
	for i, rank := range ranks {
		if names[rank] == "" {
			continue // "celery@" is of no group
		}
		if i == 0 || rank != ranks[i-1] {
			t.entries = append(t.entries, entry{name: names[rank]})
			t.text += len(names[rank])
		}
		t.entries[len(t.entries)-1].n++
	}
	t.letGo()
}
