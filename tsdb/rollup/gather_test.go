package rollup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// What is gathered is what is added one by one, whatever was there before, and
// for more names than are kept.
func TestGather(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(6, 1))
	var g Gather
	var taken Rollup
	for range 300 {
		vs := randomInvocations(r, r.IntN(700), 1+r.IntN(600))
		for i := range vs { // negative ones count as 0
			if r.IntN(20) == 0 {
				vs[i].Outcome.Runtime = -vs[i].Outcome.Runtime
			}
		}
		one, many := of(vs[:len(vs)/3]), of(vs[:len(vs)/3])
		for i := len(vs) / 3; i < len(vs); i++ {
			one.Add(&vs[i])
		}
		groups, queues := ranksOf(vs)
		for i := len(vs) / 3; i < len(vs); i++ {
			f := FactOf(&vs[i], Places{int32(i), int32(i)})
			g.Add(&f)
		}
		g.Take(&taken, groups, queues)
		many.Merge(&taken)
		check(t, many)
		if !one.Equal(many) {
			t.Fatalf("%d invocations:\n%s\n%s", len(vs), describe(one), describe(many))
		}
	}
}

// ranksOf are the ranks of the groups and queues of invocations; the place of each
// is the number of the invocation.
func ranksOf(vs []task.Invocation) (groups, queues Ranks) {
	rank := func(name func(v *task.Invocation) string) (r Ranks) {
		for i := range vs {
			r.Names = append(r.Names, name(&vs[i]))
		}
		slices.Sort(r.Names)
		r.Names = slices.Compact(r.Names)
		for i := range vs {
			at, _ := slices.BinarySearch(r.Names, name(&vs[i]))
			r.Rank = append(r.Rank, int32(at))
		}
		return r
	}
	return rank(func(v *task.Invocation) string { return task.WorkerGroup(v.Worker) }), rank(func(v *task.Invocation) string { return v.Queue })
}

func BenchmarkGather(b *testing.B) {
	vs := typical(rand.New(rand.NewPCG(1, 1)), 1<<16)
	groups, queues := ranksOf(vs)
	for _, n := range []int{2, 17, 100} {
		b.Run(fmt.Sprint("one by one/", n), func(b *testing.B) {
			for i := range b.N {
				var r Rollup
				for j := range n {
					k := (i*n + j) % len(vs)
					r.AddShared(&vs[k], groups.Names[groups.Rank[k]])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
		})
		b.Run(fmt.Sprint("together/", n), func(b *testing.B) {
			var g Gather
			var r Rollup
			for i := range b.N {
				for j := range n {
					k := (i*n + j) % len(vs)
					f := FactOf(&vs[k], Places{int32(k), int32(k)})
					g.Add(&f)
				}
				g.Take(&r, groups, queues)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
		})
	}
}
