package rollup

import (
	"cmp"
	"math"
	"slices"
)

// Sum adds up many rollups of one task and bucket. It has a counter for every bin
// and every name: adding a small rollup takes a third of the time that merging it
// into a greater one takes, which looks at all that the greater one has. The
// zero Sum is empty.
type Sum struct {
	counts                      Counts
	runtime, wait               bins
	workers, queues, exceptions names
	dec                         Decoder
}

// AddBinary adds what b encodes. On an error s stays as it was.
func (s *Sum) AddBinary(b []byte) error {
	r := &s.dec.scratch
	s.dec.listNumbers, s.dec.numbers = true, s.dec.numbers[:0]
	begun := s.dec.begun
	if err := s.dec.Decode(r, b); err != nil {
		return err
	}
	if begun != s.dec.begun { // in the midst of these names: they are numbered anew
		s.dec.numbers = s.dec.numbers[:0]
		if err := s.dec.Decode(r, b); err != nil {
			return err
		}
	}
	s.counts.merge(&r.Counts)
	s.runtime.add(&r.Runtime)
	s.wait.add(&r.Wait)
	rest := s.workers.add(&r.Workers, s.dec.numbers, s.dec.begun)
	rest = s.queues.add(&r.Queues, rest, s.dec.begun)
	s.exceptions.add(&r.Exceptions, rest, s.dec.begun)
	return nil
}

// Take appends the bytes of the sum to dst, as AppendBinary of a Rollup does, and
// empties s.
func (s *Sum) Take(dst []byte) []byte {
	r := &s.dec.scratch
	r.Counts = s.counts
	s.runtime.take(&r.Runtime)
	s.wait.take(&r.Wait)
	for _, d := range [...]*names{&s.workers, &s.queues, &s.exceptions} {
		d.follow(s.dec.begun)
	}
	ranks := s.dec.ranked(s.workers.numbers, s.queues.numbers, s.exceptions.numbers)
	s.workers.take(&r.Workers, ranks)
	s.queues.take(&r.Queues, ranks)
	s.exceptions.take(&r.Exceptions, ranks)
	s.counts = Counts{}
	return r.AppendBinary(dst)
}

// bins is a Sketch with a place for every bin.
type bins struct {
	n           []uint64 // by index
	first, last int32    // of those that are not 0, if there are any
	rest        Sketch   // all but the bins
}

func (d *bins) add(s *Sketch) {
	if s.count == 0 {
		return
	}
	if d.n == nil {
		d.n = make([]uint64, maxIndex+1)
	}
	if d.rest.count == 0 {
		d.first, d.last, d.rest.min, d.rest.max = math.MaxInt32, 0, s.min, s.max
	}
	d.first, d.last = min(d.first, s.bins[0].index), max(d.last, s.bins[len(s.bins)-1].index)
	for _, b := range s.bins {
		d.n[b.index] += b.n
	}
	d.rest.count += s.count
	d.rest.sum = d.rest.sum.add(s.sum)
	d.rest.min, d.rest.max = min(d.rest.min, s.min), max(d.rest.max, s.max)
}

func (d *bins) take(s *Sketch) {
	all := s.bins[:0]
	if d.rest.count > 0 {
		for i := d.first; i <= d.last; i++ {
			if n := d.n[i]; n > 0 {
				all = append(all, bin{n: n, index: i})
				d.n[i] = 0
			}
		}
	}
	*s, d.rest = d.rest, Sketch{}
	s.bins = all
}

// names is a Top with a place for every name.
type names struct {
	place   []int32 // by the decoder's number of a name: one more than its place in all
	numbers []int32 // of the names in all
	begun   int     // the decoder's, when place was true
	twice   bool    // it began anew since: a name may be in all twice
	all     []entry
	other   uint64
}

// add returns what is left of numbers, which begin with those of t's names.
func (d *names) add(t *Top, numbers []int32, begun int) []int32 {
	d.follow(begun)
	d.other += t.other
	for i, e := range t.entries {
		number := numbers[i]
		if need := int(number) + 1 - len(d.place); need > 0 {
			d.place = append(d.place, make([]int32, need)...)
		}
		if d.place[number] == 0 {
			d.all = append(d.all, entry{name: e.name})
			d.numbers = append(d.numbers, number)
			d.place[number] = int32(len(d.all))
		}
		d.all[d.place[number]-1].n += e.n
	}
	return numbers[len(t.entries):]
}

// follow forgets the decoder's numbers if it has begun anew: also in the midst of what
// turned out to be damaged.
func (d *names) follow(begun int) {
	if d.begun != begun {
		d.begun, d.place, d.numbers = begun, nil, d.numbers[:0]
		d.twice = len(d.all) > 0
	}
}

// take empties d into t. ranks are those of the decoder's first numbers: sorting by
// them takes a third of the time of comparing names.
func (d *names) take(t *Top, ranks []int32) {
	t.reset()
	if d.twice {
		d.takeTwice(t)
	} else {
		slices.SortFunc(d.numbers, func(a, b int32) int {
			if int(max(a, b)) < len(ranks) {
				return cmp.Compare(ranks[a], ranks[b])
			}
			return cmp.Compare(d.all[d.place[a]-1].name, d.all[d.place[b]-1].name)
		})
		for _, number := range d.numbers {
			t.push(d.all[d.place[number]-1])
		}
	}
	for _, number := range d.numbers {
		d.place[number] = 0
	}
	clear(d.all)
	d.all, d.numbers, d.twice = d.all[:0], d.numbers[:0], false
	t.other, d.other = d.other, 0
	t.letGo()
}

func (d *names) takeTwice(t *Top) {
	slices.SortFunc(d.all, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for _, e := range d.all {
		if n := len(t.entries); n > 0 && t.entries[n-1].name == e.name {
			t.entries[n-1].n += e.n
			continue
		}
		t.push(e)
	}
}

// push adds a name behind all others.
func (t *Top) push(e entry) {
	t.entries = append(t.entries, e)
	t.text += len(e.name)
}
