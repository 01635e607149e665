package blocks

import (
	"cmp"
	"slices"
	"strings"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// maxRanked bounds the names that a writer remembers: clients may invent them.
const maxRanked = 1 << 16

// ranking remembers names and their order, so that the rows of a cut are counted
// by numbers: names are hashed and compared when one is new, and not for each row.
// K is what tells what is named apart: ids in a dictionary, or other names.
type ranking[K comparable] struct {
	rollup.Ranks
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

// rankings are the groups of a file's workers, and its queues.
type rankings[K comparable] struct{ groups, queues ranking[K] }

// of are the places of v's worker and queue.
func (r *rankings[K]) of(v *task.Invocation, worker, queue K) (at rollup.Places) {
	var ok bool
	if at.Group, ok = r.groups.byKey[worker]; !ok {
		at.Group = r.groups.add(worker, task.WorkerGroup(v.Worker))
	}
	if at.Queue, ok = r.queues.byKey[queue]; !ok {
		at.Queue = r.queues.add(queue, v.Queue)
	}
	return at
}

// take is what g has counted.
func (r *rankings[K]) take(g *rollup.Gather, to *rollup.Rollup) {
	r.groups.sort()
	r.queues.sort()
	g.Take(to, r.groups.Ranks, r.queues.Ranks)
}

// forget starts again when there are too many. Nothing may be gathered then.
func (r *rankings[K]) forget() {
	if len(r.groups.byKey)+len(r.queues.byKey) > maxRanked {
		*r = rankings[K]{}
	}
}
