package task

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Folding never uncovers anything, keeps the counts, and gets there.
func TestFoldGaps(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for range 300 {
		var s GapSet
		kinds := 1 + r.IntN(4)
		for range r.IntN(200) {
			from := r.Int64N(10_000)
			s.Add(Gap{Source: fmt.Sprint(r.IntN(kinds)), Cause: "c", From: from, To: from + r.Int64N(300), Count: r.Int64N(9)})
		}
		all := s.Sorted()
		most := kinds + r.IntN(60)
		folded := FoldGaps(all, most)
		if len(folded) > most {
			t.Fatalf("%d gaps, at most %d were wanted", len(folded), most)
		}
		var had, has int64
		for _, g := range all {
			had += g.Count
			covered := false
			for _, f := range folded {
				covered = covered || f.Source == g.Source && f.From <= g.From && f.To >= g.To
			}
			if !covered {
				t.Fatalf("%+v is in none of %+v", g, folded)
			}
		}
		for i, f := range folded {
			has += f.Count
			if i > 0 && f.From < folded[i-1].From {
				t.Fatal("out of order")
			}
		}
		if had != has {
			t.Fatalf("%d records were missing, now %d", had, has)
		}
	}
	var many []Gap
	for i := range 20 {
		many = append(many, Gap{Source: fmt.Sprint(i)})
	}
	if got := FoldGaps(many, 3); len(got) != 20 {
		t.Fatalf("sources were mixed: %d", len(got))
	}
}

func TestGapMerges(t *testing.T) {
	var s GapSet
	s.Add(Gap{Source: "a", Cause: "c", From: 5, To: 9, Count: 7})
	s.Add(Gap{Source: "a", Cause: "c", From: 5, To: 12, Count: 3})
	if got := s.Sorted(); len(got) != 1 || got[0].To != 12 || got[0].Count != 7 {
		t.Fatalf("%+v", got)
	}
	s.Remove(Gap{Source: "a", Cause: "c", From: 5, To: 9, Count: 7})
	if s.Len() != 1 {
		t.Fatal("one that has grown since was removed")
	}
	s.Remove(s.Sorted()[0])
	if s.Len() != 0 {
		t.Fatal("not removed")
	}
	day := Day(20_000)
	for _, c := range []struct {
		g    Gap
		want Day
	}{
		{Gap{From: day.Start(), To: day.Start()}, day},
		{Gap{From: day.Start() - 5, To: day.Start()}, day - 1}, // half-open
		{Gap{From: day.Start() - 5, To: day.Start() + 1}, day},
	} {
		if got := c.g.Day(); got != c.want {
			t.Errorf("%+v is of %s, want %s", c.g, got, c.want)
		}
	}
}
