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
		var groups []string
		for i := range vs {
			groups = append(groups, task.WorkerGroup(vs[i].Worker))
		}
		ranked := slices.Compact(slices.Sorted(slices.Values(groups)))
		var ranks []int32 // the place of an invocation's group is its own number
		for i := range vs {
			rank, _ := slices.BinarySearch(ranked, groups[i])
			ranks = append(ranks, int32(rank))
			if i >= len(vs)/3 {
				g.Add(&vs[i], int32(i))
			}
		}
		many.Merge(g.Take(ranks, ranked))
		check(t, many)
		if !one.Equal(many) {
			t.Fatalf("%d invocations:\n%s\n%s", len(vs), describe(one), describe(many))
		}
	}
}

var sink *Rollup

func BenchmarkGather(b *testing.B) {
	vs := typical(rand.New(rand.NewPCG(1, 1)), 1<<16)
	groups := make([]string, len(vs))
	for i := range vs {
		groups[i] = task.WorkerGroup(vs[i].Worker)
	}
	ranked := slices.Compact(slices.Sorted(slices.Values(groups)))
	ranks := make([]int32, len(vs))
	for i := range vs {
		rank, _ := slices.BinarySearch(ranked, groups[i])
		ranks[i] = int32(rank)
	}
	for _, n := range []int{2, 17, 100} {
		b.Run(fmt.Sprint("one by one/", n), func(b *testing.B) {
			for i := range b.N {
				var r Rollup
				for j := range n {
					k := (i*n + j) % len(vs)
					r.AddShared(&vs[k], groups[k])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
		})
		b.Run(fmt.Sprint("together/", n), func(b *testing.B) {
			var g Gather
			for i := range b.N {
				for j := range n {
					k := (i*n + j) % len(vs)
					g.Add(&vs[k], int32(k))
				}
				sink = g.Take(ranks, ranked)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
		})
	}
}
