package rollup

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// Names are ranked as if all were sorted, however many are added at a time.
func TestRanking(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 1))
	for range 50 {
		var g ranking[int]
		var added []string // by place
		for range 30 {
			for range r.IntN(40) * r.IntN(2) {
				name := strconv.Itoa(r.IntN(1000))
				if place := g.add(r.Int(), name); int(place) == len(added) {
					added = append(added, name)
				} else if added[place] != name {
					t.Fatalf("%q is at the place of %q", name, added[place])
				}
			}
			g.sort()
			want := slices.Sorted(slices.Values(added))
			if !slices.Equal(g.Names, want) || len(g.Rank) != len(added) {
				t.Fatalf("%d ranks of %q, want %q", len(g.Rank), g.Names, want)
			}
			for place, name := range added {
				if got := g.Names[g.Rank[place]]; got != name {
					t.Fatalf("place %d is ranked as %q, want %q", place, got, name)
				}
			}
		}
	}
}

// A name more is put among the others: they are not sorted again, in memory that is
// allocated for it.
func TestRankingOfOneMore(t *testing.T) {
	var g ranking[int]
	names := make([]string, 5000)
	for i := range names {
		names[i] = strconv.Itoa(i * 7919 % len(names))
	}
	i := 0
	one := func() {
		g.add(i, names[i])
		i++
	}
	for range 4000 {
		one()
	}
	g.sort()
	if n := testing.AllocsPerRun(500, func() { one(); g.sort() }); n > 2 {
		t.Errorf("%v allocations for a name", n)
	}
}
