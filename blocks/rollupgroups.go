package blocks

import (
	"cmp"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

// maxGroups bounds the workers that a writer remembers: clients may invent them.
const maxGroups = 1 << 16

// workerGroups remembers the groups of a file's workers and their order, so that
// the rows of a cut are counted by numbers: names are hashed and compared when one
// is new, and not for each row.
// K is what tells workers apart: ids in a dictionary, or names.
type workerGroups[K comparable] struct {
	byWorker map[K]int32
	byName   map[string]int32 // both are places in rank
	rank     []int32          // place in names
	names    []string         // ascending
}

// of is the place of the group of v's worker; what its rank is says sort.
func (g *workerGroups[K]) of(worker K, v *task.Invocation) int32 {
	if i, ok := g.byWorker[worker]; ok {
		return i
	}
	group := task.WorkerGroup(v.Worker)
	i, ok := g.byName[group]
	if !ok {
		if g.byName == nil {
			g.byWorker, g.byName = map[K]int32{}, map[string]int32{}
		}
		i = int32(len(g.byName))
		g.byName[strings.Clone(group)] = i // it is a part of a whole record
	}
	g.byWorker[worker] = i
	return i
}

// sort ranks the groups that have been added since it was last called.
func (g *workerGroups[K]) sort() {
	if len(g.names) == len(g.byName) {
		return
	}
	type group struct {
		name  string
		place int32
	}
	all := make([]group, 0, len(g.byName))
	for name, i := range g.byName {
		all = append(all, group{name, i})
	}
	slices.SortFunc(all, func(a, b group) int { return cmp.Compare(a.name, b.name) })
	g.rank, g.names = make([]int32, len(all)), make([]string, len(all))
	for i, x := range all {
		g.rank[x.place], g.names[i] = int32(i), x.name
	}
}

// forget starts again when there are too many.
func (g *workerGroups[K]) forget() {
	if len(g.byWorker) > maxGroups {
		*g = workerGroups[K]{}
	}
}
