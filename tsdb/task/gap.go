package task

import (
	"cmp"
	"slices"
)

// Gap is a stretch of time of which invocations are known to be missing.
// Source, Cause and From identify it; of two statements about one gap the
// longer and the larger are right.
type Gap struct {
	Source string
	Cause  string
	From   int64 // microseconds
	To     int64
	Count  int64 // records known to be missing; 0 if not known
}

// Day is the day in which the gap ends, and where it is kept.
func (g *Gap) Day() Day { return DayOf(max(g.From, g.To-1)) }

// Touches reports whether the gap has a part in [from, to); to 0 is no bound.
func (g *Gap) Touches(from, to int64) bool {
	return g.To >= from && (to == 0 || g.From < to)
}

// Grow takes in another statement about the same gap.
func (g *Gap) Grow(o Gap) { g.To, g.Count = max(g.To, o.To), max(g.Count, o.Count) }

// gapKey identifies a gap.
type gapKey struct {
	source, cause string
	from          int64
}

// GapSet holds every gap once. The zero value is empty and ready.
type GapSet struct{ m map[gapKey]Gap }

// Add merges a statement about a gap into the set, and returns what is known
// of that gap now.
func (s *GapSet) Add(g Gap) Gap {
	if s.m == nil {
		s.m = map[gapKey]Gap{}
	}
	k := gapKey{g.Source, g.Cause, g.From}
	if old, ok := s.m[k]; ok {
		g.Grow(old)
	}
	s.m[k] = g
	return g
}

// Get returns what is known of the gap that g is a statement about; the zero
// Gap if nothing is.
func (s *GapSet) Get(g Gap) Gap { return s.m[gapKey{g.Source, g.Cause, g.From}] }

// Len is the number of gaps.
func (s *GapSet) Len() int { return len(s.m) }

// Remove takes a gap out if it is still as it is stated.
func (s *GapSet) Remove(g Gap) {
	if k := (gapKey{g.Source, g.Cause, g.From}); s.m[k] == g {
		delete(s.m, k)
	}
}

// Sorted returns the gaps by start, then source and cause.
func (s *GapSet) Sorted() []Gap {
	out := make([]Gap, 0, len(s.m))
	for _, g := range s.m {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Gap) int {
		if c := cmp.Compare(a.From, b.From); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Cause, b.Cause))
	})
	return out
}

// FoldGaps brings sorted gaps down to about most of them: neighbours of one
// source and cause become one that reaches over what lies between. Too much is
// then said to be missing, never too little.
func FoldGaps(gaps []Gap, most int) []Gap {
	type kind struct{ source, cause string }
	type run struct{ at, size int } // the last one in out, and how many it stands for
	for per := 1 + len(gaps)/max(most, 1); len(gaps) > most; per *= 2 {
		open := map[kind]*run{}
		out := gaps[:0:0]
		for _, g := range gaps {
			r := open[kind{g.Source, g.Cause}]
			if r == nil {
				r = &run{size: per}
				open[kind{g.Source, g.Cause}] = r
			}
			if r.size == per {
				r.at, r.size = len(out), 1
				out = append(out, g)
				continue
			}
			r.size++
			into := &out[r.at]
			into.To, into.Count = max(into.To, g.To), into.Count+g.Count
		}
		if len(out) == len(gaps) {
			return gaps // as many kinds as gaps
		}
		gaps = out
	}
	return gaps
}
