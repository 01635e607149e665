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
	if err := s.dec.Decode(r, b); err != nil {
		return err
	}
	s.counts.merge(&r.Counts)
	s.runtime.add(&r.Runtime)
	s.wait.add(&r.Wait)
	s.workers.add(&r.Workers)
	s.queues.add(&r.Queues)
	s.exceptions.add(&r.Exceptions)
	return nil
}

// Take appends the bytes of the sum to dst, as AppendBinary of a Rollup does, and
// empties s.
func (s *Sum) Take(dst []byte) []byte {
	r := &s.dec.scratch
	r.Counts = s.counts
	s.runtime.take(&r.Runtime)
	s.wait.take(&r.Wait)
	s.workers.take(&r.Workers)
	s.queues.take(&r.Queues)
	s.exceptions.take(&r.Exceptions)
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
	place map[string]int
	all   []entry
	other uint64
}

func (d *names) add(t *Top) {
	if d.place == nil {
		d.place = map[string]int{}
	}
	d.other += t.other
	for _, e := range t.entries {
		i, ok := d.place[e.name]
		if !ok {
			i = len(d.all)
			d.place[e.name] = i
			d.all = append(d.all, entry{name: e.name})
		}
		d.all[i].n += e.n
	}
}

func (d *names) take(t *Top) {
	t.reset()
	slices.SortFunc(d.all, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	t.entries, d.all = d.all, t.entries
	t.other, d.other = d.other, 0
	for i := range t.entries {
		t.text += len(t.entries[i].name)
	}
	if clear(d.place); len(t.entries) > 4*TopNames {
		d.place = nil // clearing costs what it has room for
	}
	t.letGo()
}
