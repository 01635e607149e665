package rollup

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A Batch counts as Add does, at any depth, flat or not, and however often it is
// flushed; also for more names than it counts together.
func TestBatch(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 1))
	for range 120 {
		vs := randomInvocations(r, r.IntN(1000), 1+r.IntN(600))
		for i := range vs {
			if r.IntN(3) == 0 {
				vs[i].TaskName = fmt.Sprint("t", r.IntN(20))
			}
		}
		depth, flat, width := []Depth{Whole, Runtimes, OnlyCounts}[r.IntN(3)], r.IntN(3) == 0, []Width{Minute, Hour, Forever}[r.IntN(3)]
		one, many := NewSet(width, DefaultLimits), NewSet(width, DefaultLimits)
		for _, s := range []*Set{one, many} {
			s.Only(depth)
			if flat {
				s.Flat()
			}
		}
		b := many.Batch()
		for i := range vs {
			one.Add(&vs[i])
			if b.Add(&vs[i]); r.IntN(400) == 0 {
				b.Flush()
			}
		}
		b.Flush()
		sameSets(t, many, one)
	}
	many, one := NewSet(Forever, DefaultLimits), NewSet(Forever, DefaultLimits)
	b, vs := many.Batch(), randomInvocations(r, 2*batchKeys+100, 3)
	for i := range vs {
		vs[i].TaskName = fmt.Sprint("t", i)
		one.Add(&vs[i])
		b.Add(&vs[i])
	}
	if len(b.gathers) > batchKeys || many.Len() == 0 {
		t.Fatalf("%d are counted together", len(b.gathers))
	}
	b.Flush()
	sameSets(t, many, one)
}

func sameSets(t *testing.T, got, want *Set) {
	t.Helper()
	if got.Len() != want.Len() || got.Folded() != want.Folded() {
		t.Fatalf("%d rollups, %d folded; want %d, %d", got.Len(), got.Folded(), want.Len(), want.Folded())
	}
	for k, w := range want.All() {
		if g := got.rollups[k]; g == nil || !g.Equal(w) {
			t.Fatalf("%v:\n%s\n%s", k, describe(g), describe(w))
		}
	}
}
