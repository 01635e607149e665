package rollup

import (
	"cmp"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

// maxRanked bounds the names that a writer remembers: clients may invent them.
const maxRanked = 1 << 16

// ranking remembers names and their order, so that rows are counted by numbers: names are hashed and compared when one is new, and not for each row.
// K is what tells what is named apart: ids in a dictionary, or other names.
type ranking[K comparable] struct {
	Ranks
	byKey  map[K]int32
	byName map[string]int32 // both are places in Rank
}

// add gives a key that is not known the place of its name; what its rank is says sort.
func (g *ranking[K]) add(key K, name string) int32 {
	i, ok := g.byName[name]
	if !ok {
		if g.byName == nil {
			g.byKey, g.byName = map[K]int32{}, map[string]int32{}
		}
		i = int32(len(g.byName))
		g.byName[strings.Clone(name)] = i // it is a part of a whole record
	}
	g.byKey[key] = i
	return i
}

// sort ranks the names that have been added since it was last called.
func (g *ranking[K]) sort() {
	if len(g.Names) == len(g.byName) {
		return
	}
	type named struct {
		name  string
		place int32
	}
	all := make([]named, 0, len(g.byName))
	for name, i := range g.byName {
		all = append(all, named{name, i})
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	g.Rank, g.Names = make([]int32, len(all)), make([]string, len(all))
	for i, x := range all {
		g.Rank[x.place], g.Names[i] = int32(i), x.name
	}
}

// Rankings are the groups of workers, and queues. The zero Rankings know none.
type Rankings[K comparable] struct{ groups, queues ranking[K] }

// Of are the places of v's worker and queue.
func (r *Rankings[K]) Of(v *task.Invocation, worker, queue K) (at Places) {
	var ok bool
	if at.Group, ok = r.groups.byKey[worker]; !ok {
		at.Group = r.groups.add(worker, task.WorkerGroup(v.Worker))
	}
	if at.Queue, ok = r.queues.byKey[queue]; !ok {
		at.Queue = r.queues.add(queue, v.Queue)
	}
	return at
}

// Take replaces to by what g has counted, of places that Of gave out, and empties g.
func (r *Rankings[K]) Take(g *Gather, to *Rollup) {
	r.groups.sort()
	r.queues.sort()
	g.Take(to, r.groups.Ranks, r.queues.Ranks)
}

// Forget starts again when there are too many. Nothing may be gathered then.
func (r *Rankings[K]) Forget() {
	if len(r.groups.byKey)+len(r.queues.byKey) > maxRanked {
		*r = Rankings[K]{}
	}
}
