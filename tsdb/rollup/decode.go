package rollup

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"daybook/tsdb/task"
)

// ErrDamaged is returned for bytes that no AppendBinary has written.
var ErrDamaged = errors.New("not an encoded rollup")

// maxCount bounds every decoded number of invocations: it is more than a
// century of them, and 65 000 such rollups merge without overflow.
const maxCount = 1 << 48

// maxInterned bounds the names that a Decoder remembers.
const maxInterned = 4096

// Depth is how much of a rollup is read. Most of its bytes and of the time to
// merge it are names and sketches, which not every question is about.
type Depth int

// The depths. Counts are in all of them.
const (
	Whole    Depth = iota
	Runtimes       // the sketch of runtimes, and no other
	OnlyCounts
)

// Decoder reads encoded rollups. It reuses memory between calls and hands out
// one copy of each name. The zero Decoder is ready.
type Decoder struct {
	depth   Depth
	names   map[string]interned
	scratch Rollup

	// For a Sum: the numbers of the names of the rollup that was decoded last, in
	// the order of their places, and how often numbering has begun again.
	listNumbers bool
	numbers     []int32
	begun       int
	ranks       []int32 // by number, of the names that there were when they were last sorted
	unranked    int     // names of sums since then that had no rank
}

// interned is a name that was met, and its number, from 0.
type interned struct {
	name   string
	number int32
}

// Decode replaces r by what b encodes. On an error r is empty. It allocates no
// more than a small multiple of len(b).
func (d *Decoder) Decode(r *Rollup, b []byte) error {
	r.Reset()
	p := parser{b: b, d: d}
	if v := p.byte(); v != codecVersion && len(b) > 0 {
		return fmt.Errorf("version %d: %w", v, ErrDamaged)
	}
	p.rollup(r)
	if p.bad || len(p.b) != 0 && d.depth == Whole {
		r.Reset()
		return ErrDamaged
	}
	return nil
}

// Merge adds what b encodes to r, which stays as it was on an error.
func (d *Decoder) Merge(r *Rollup, b []byte) error {
	if err := d.Decode(&d.scratch, b); err != nil {
		return err
	}
	r.Merge(&d.scratch)
	return nil
}

// Decode reads what AppendBinary wrote.
func Decode(b []byte) (Rollup, error) {
	var d Decoder
	var r Rollup
	err := d.Decode(&r, b)
	return r, err
}

func (d *Decoder) intern(b []byte) interned {
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	if d.names == nil || len(d.names) >= maxInterned {
		d.names, d.ranks, d.unranked = make(map[string]interned), nil, 0
		d.begun++
	}
	s := interned{string(b), int32(len(d.names))}
	d.names[s.name] = s
	return s
}

// unrankedTimes is how many times as many names as there are a Sum sorts by name
// before all are ranked: that pays once and for all what those take each time.
const unrankedTimes = 4

// ranked are the places of names in their order, by number: of those that a sum has,
// or of some of them. Ranking all after each new one was two thirds of the time of a cut
// with 5 000 workers: nearly every sum has one that is new, and few of the others.
func (d *Decoder) ranked(numbers ...[]int32) []int32 {
	for _, of := range numbers {
		for _, number := range of {
			if int(number) >= len(d.ranks) {
				d.unranked++
			}
		}
	}
	if len(d.ranks) == len(d.names) || d.unranked < unrankedTimes*len(d.names) {
		return d.ranks
	}
	all := slices.SortedFunc(maps.Values(d.names), func(a, b interned) int { return cmp.Compare(a.name, b.name) })
	d.ranks, d.unranked = slices.Grow(d.ranks[:0], len(all))[:len(all)], 0
	for rank, x := range all {
		d.ranks[x.number] = int32(rank)
	}
	return d.ranks
}

// parser consumes bytes; bad once it ran short or met what no encoder writes.
type parser struct {
	b   []byte
	d   *Decoder
	bad bool
}

func (p *parser) byte() byte {
	if p.bad || len(p.b) == 0 {
		p.bad = true
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

// uvarint reads a number in its shortest form: equal rollups have equal bytes.
func (p *parser) uvarint() uint64 {
	n, at := uvarint(p.b, 0)
	if p.bad || at > len(p.b) {
		p.bad = true
		return 0
	}
	p.b = p.b[at:]
	return n
}

// uvarint reads the number at b[at:] and returns where the next one is; that
// is beyond the end if there is none.
func uvarint(b []byte, at int) (uint64, int) {
	var n uint64
	for shift := 0; shift < 64 && at < len(b); shift += 7 {
		c := b[at]
		if shift == 63 && c > 1 || shift > 0 && c == 0 {
			break
		}
		n |= uint64(c&0x7f) << shift
		if at++; c < 0x80 {
			return n, at
		}
	}
	return 0, len(b) + 1
}

// positive reads a number from 1 to limit.
func (p *parser) positive(limit uint64) uint64 {
	n := p.uvarint()
	if n == 0 || n > limit {
		p.bad = true
		return 0
	}
	return n
}

func (p *parser) rollup(r *Rollup) {
	mask := p.uvarint()
	if mask >= hasEnd {
		p.bad = true
	}
	for i := range r.States {
		if mask&(1<<i) != 0 {
			r.States[i] = p.positive(maxCount)
		}
	}
	total := r.Total()
	if total > maxCount {
		p.bad = true
	}
	if mask&hasGivenUp != 0 {
		r.GivenUp = p.positive(total)
	}
	if mask&hasRetries != 0 {
		r.Retries = p.positive(math.MaxInt64)
	}
	if p.d.depth == OnlyCounts {
		return
	}
	if mask&hasRuntime != 0 {
		p.sketch(&r.Runtime, total)
	}
	if p.d.depth == Runtimes {
		return
	}
	if mask&hasWait != 0 {
		p.sketch(&r.Wait, total)
	}
	if mask&hasWorkers != 0 {
		p.top(&r.Workers, total)
	}
	if mask&hasQueues != 0 {
		p.top(&r.Queues, total)
	}
	if mask&hasExceptions != 0 {
		p.top(&r.Exceptions, total)
	}
}

// sketch reads a sketch of at most total durations.
func (p *parser) sketch(s *Sketch, total uint64) {
	n := p.positive(min(total, maxIndex+1))
	if p.bad || n > uint64(len(p.b)) {
		p.bad = true
		return
	}
	p.bins(s, int(n), total)
	least := p.uvarint()
	spread, exact := uint64(0), sum{lo: least}
	if s.count != 1 {
		spread = p.uvarint()
		exact.hi = p.uvarint()
		exact.lo = p.uvarint()
	}
	if s.count > total || least > math.MaxInt64 || spread > math.MaxInt64-least {
		p.bad = true
		return
	}
	s.min, s.max, s.sum = int64(least), int64(least+spread), exact
}

// bins reads n bins. Most of the bytes of a rollup are theirs, and most of
// these numbers are of one byte: the loop keeps its state to itself.
func (p *parser) bins(s *Sketch, n int, total uint64) {
	s.bins = slices.Grow(s.bins, n)[:n]
	b, at, next := p.b, 0, uint64(0)
	for i := range s.bins {
		var token uint64
		for skipped := false; ; skipped = true {
			if at < len(b) && b[at] < 0x80 {
				token = uint64(b[at])
				at++
			} else {
				token, at = uvarint(b, at)
			}
			if token&1 == 1 {
				break
			}
			if token == 0 || skipped { // token is 0 at the end, too
				p.bad = true
				return
			}
			next += min(token>>1, maxIndex+1)
		}
		count := token >> 1
		if count == 0 || count > total || next > maxIndex {
			p.bad = true
			return
		}
		s.bins[i] = bin{n: count, index: int32(next)}
		s.count += count
		next++
	}
	p.b = b[at:]
}

// top reads a Top of at most total occurrences.
func (p *parser) top(t *Top, total uint64) {
	n := int(p.positive(TopNames))
	last, seen, zero := "", uint64(0), false
	for i := 0; i < n && !p.bad; i++ {
		size := p.positive(task.MaxName)
		if p.bad || size > uint64(len(p.b)) {
			p.bad = true
			return
		}
		known := p.d.intern(p.b[:size])
		name := known.name
		if p.d.listNumbers {
			p.d.numbers = append(p.d.numbers, known.number)
		}
		p.b = p.b[size:]
		count := p.uvarint()
		if name <= last || count > total {
			p.bad = true
			return
		}
		t.entries = append(t.entries, entry{name, count})
		t.text += len(name)
		last, seen, zero = name, seen+count, zero || count == 0
	}
	if n == TopNames {
		t.other = p.uvarint()
	}
	// A name without occurrences only holds the place of others that have some.
	if t.other > total || seen+t.other > total || zero && t.other == 0 {
		p.bad = true
	}
}
