package rollup

import (
	"math"
	"math/bits"
	"slices"
)

// Sketch is a DDSketch of durations in microseconds, with the exact count,
// sum, minimum and maximum beside it. The zero Sketch is empty.
//
// Values fall into bins that the logarithmic mapping of sketches-go defines;
// a bin holds how many there were. Merging adds bins, so it does not matter in
// which order or grouping. Bins are never collapsed: a duration is an int64,
// which bounds their number to maxIndex+1.
type Sketch struct {
	bins     []bin // ascending index, none of them empty
	count    uint64
	sum      sum
	min, max int64 // 0 while count is 0
}

type bin struct {
	n     uint64
	index int32
}

// sum is a 128-bit integer: no number of int64 durations overflows it, so
// that adding stays associative where floating point would not be.
type sum struct{ hi, lo uint64 }

func (a sum) add(b sum) sum {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return sum{hi, lo}
}

// sub is a-b; ok is false if that were negative.
func (a sum) sub(b sum) (d sum, ok bool) {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, borrow := bits.Sub64(a.hi, b.hi, borrow)
	return sum{hi, lo}, borrow == 0
}

// Add adds one duration. A negative one counts as 0.
func (s *Sketch) Add(us int64) {
	us = max(us, 0)
	index := indexOf(us)
	i, found := s.find(index)
	if found {
		s.bins[i].n++
	} else {
		s.bins = slices.Insert(s.bins, i, bin{n: 1, index: index})
	}
	if s.count == 0 {
		s.min, s.max = us, us
	}
	s.min, s.max = min(s.min, us), max(s.max, us)
	s.count++
	s.sum = s.sum.add(sum{lo: uint64(us)})
}

// find is a binary search without the call per step of a generic one.
func (s *Sketch) find(index int32) (int, bool) {
	lo, hi := 0, len(s.bins)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.bins[mid].index < index {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(s.bins) && s.bins[lo].index == index
}

// Merge adds everything in o, which it does not change.
func (s *Sketch) Merge(o *Sketch) {
	if o.count == 0 {
		return
	}
	if s.count == 0 {
		s.bins = append(s.bins[:0], o.bins...)
		s.count, s.sum, s.min, s.max = o.count, o.sum, o.min, o.max
		return
	}
	s.mergeBins(o.bins)
	s.count += o.count
	s.sum = s.sum.add(o.sum)
	s.min, s.max = min(s.min, o.min), max(s.max, o.max)
}

// mergeBins first adds to the bins that are there, usually all of them, and
// moves memory only for those that are not.
func (s *Sketch) mergeBins(o []bin) {
	missing, i := 0, 0
	for _, b := range o {
		for i < len(s.bins) && s.bins[i].index < b.index {
			i++
		}
		if i < len(s.bins) && s.bins[i].index == b.index {
			s.bins[i].n += b.n
		} else {
			missing++
		}
	}
	if missing == 0 {
		return
	}
	i = len(s.bins) - 1
	s.bins = slices.Grow(s.bins, missing)[:len(s.bins)+missing]
	w := len(s.bins) - 1
	for j := len(o) - 1; w > i; j-- {
		for i >= 0 && s.bins[i].index > o[j].index {
			s.bins[w] = s.bins[i]
			i, w = i-1, w-1
		}
		if i >= 0 && s.bins[i].index == o[j].index {
			continue // added above
		}
		s.bins[w] = o[j]
		w--
	}
}

// Count is the number of durations.
func (s *Sketch) Count() uint64 { return s.count }

// Min is the least duration; 0 if there is none.
func (s *Sketch) Min() int64 { return s.min }

// Max is the greatest duration; 0 if there is none.
func (s *Sketch) Max() int64 { return s.max }

// Mean is the exact sum over the count; 0 if there is none.
func (s *Sketch) Mean() float64 {
	if s.count == 0 {
		return 0
	}
	return (float64(s.sum.hi)*(1<<64) + float64(s.sum.lo)) / float64(s.count)
}

// Quantile is within 1 % of the value at rank ⌊q·(count-1)⌋ of the sorted
// durations, for q from 0 to 1; exact where minimum and maximum tell. 0 if
// there is none.
func (s *Sketch) Quantile(q float64) float64 {
	if s.count == 0 {
		return 0
	}
	rank := uint64(min(max(q, 0), 1) * float64(s.count-1))
	var seen uint64
	for _, b := range s.bins {
		if seen += b.n; seen > rank {
			return min(max(valueOf(b.index), float64(s.min)), float64(s.max))
		}
	}
	return float64(s.max)
}

// equal reports whether the sketches are of the same durations, as far as
// their bins can tell.
func (s *Sketch) equal(o *Sketch) bool {
	return s.sameBins(o) && s.min == o.min && s.max == o.max
}

func (s *Sketch) sameBins(o *Sketch) bool {
	return s.count == o.count && s.sum == o.sum && slices.Equal(s.bins, o.bins)
}

// agrees is equal, but for bounds that Subtract left wide: by a bin, or by the
// slack of its edge.
func (s *Sketch) agrees(exact *Sketch) bool {
	return s.sameBins(exact) && s.min <= exact.min && s.max >= exact.max &&
		indexOf(s.min)+1 >= indexOf(exact.min) && indexOf(s.max)-1 <= indexOf(exact.max)
}

func (s *Sketch) clone() Sketch {
	c := *s
	c.bins = slices.Clone(s.bins)
	return c
}

// reset empties s and keeps its memory.
func (s *Sketch) reset() { *s = Sketch{bins: s.bins[:0]} }

// Subtract takes away o, which must be of durations that are in s: its bins,
// count and sum are then as if they had never been added. A minimum or maximum
// that was taken away is replaced by the edge of the bin where the true one is.
// On an error s is of no more use.
func (s *Sketch) Subtract(o *Sketch) error {
	if o.count == 0 {
		return nil
	}
	var ok bool
	if s.sum, ok = s.sum.sub(o.sum); !ok || o.count > s.count || o.min < s.min || o.max > s.max {
		return errNotContained
	}
	for _, b := range o.bins {
		i, found := s.find(b.index)
		if !found || s.bins[i].n < b.n {
			return errNotContained
		}
		s.bins[i].n -= b.n
	}
	s.bins = slices.DeleteFunc(s.bins, func(b bin) bool { return b.n == 0 })
	s.count -= o.count
	switch {
	case s.count == 0 || len(s.bins) == 0:
		if s.count != 0 || len(s.bins) != 0 || s.sum != (sum{}) {
			return errNotContained
		}
		s.min, s.max = 0, 0
	case s.count == 1:
		if s.sum.hi != 0 || s.sum.lo > math.MaxInt64 {
			return errNotContained
		}
		s.min, s.max = int64(s.sum.lo), int64(s.sum.lo)
	default:
		s.narrow(o)
	}
	return nil
}

// byBins sets minimum and maximum to the edges of the bins they are in.
func (s *Sketch) byBins() {
	if s.count > 1 { // of one, the sum tells
		s.min, s.max = lowest(s.bins[0].index), highest(s.bins[len(s.bins)-1].index)
	}
}

// narrow sets minimum and maximum after o was taken away. What is greater than
// o's minimum was not it, and stays exact.
func (s *Sketch) narrow(o *Sketch) {
	first, last := s.bins[0].index, s.bins[len(s.bins)-1].index
	if o.min == s.min && indexOf(s.min) < first {
		s.min = min(lowest(first), s.max)
	}
	if o.max == s.max && last < indexOf(s.max) {
		s.max = max(highest(last), s.min)
	}
}
