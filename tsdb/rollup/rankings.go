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
	places []int32          // by rank
	added  []named          // that have no rank yet
}

type named struct {
	name  string
	place int32
}

// add gives a key that is not known the place of its name; what its rank is says sort.
func (g *ranking[K]) add(key K, name string) int32 {
	i, ok := g.byName[name]
	if !ok {
		if g.byName == nil {
			g.byKey, g.byName = map[K]int32{}, map[string]int32{}
		}
		i = int32(len(g.byName))
		name = strings.Clone(name) // it is a part of a whole record
		g.byName[name] = i
		g.added = append(g.added, named{name, i})
	}
	g.byKey[key] = i
	return i
}

// sort ranks the names that have been added since it was last called, among those
// that are ranked: with 60 000 workers sorting all of them for the few that were new
// was two fifths of a cut of 1 000 rows.
func (g *ranking[K]) sort() {
	if len(g.added) == 0 {
		return
	}
	slices.SortFunc(g.added, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	n, all := len(g.Names), len(g.Names)+len(g.added)
	g.Names, g.places = slices.Grow(g.Names, all-n)[:all], slices.Grow(g.places, all-n)[:all]
	for i := len(g.added) - 1; i >= 0; i-- { // from the back: i come before it
		at, _ := slices.BinarySearch(g.Names[:n], g.added[i].name)
		copy(g.Names[at+i+1:], g.Names[at:n])
		copy(g.places[at+i+1:], g.places[at:n])
		g.Names[at+i], g.places[at+i] = g.added[i].name, g.added[i].place
		n = at
	}
	g.added = g.added[:0]
	g.Rank = slices.Grow(g.Rank, all-len(g.Rank))[:all]
	for rank, place := range g.places {
		g.Rank[place] = int32(rank)
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
