package rollup

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"unsafe"

	"daybook/tsdb/task"
)

// Other is the task name under which a Set counts what it has no room to count
// apart.
const Other = "(other)"

// Limits bound a Set. Clients can invent task names without end.
type Limits struct {
	Names int   // task names counted apart
	Bytes int64 // of memory
}

// DefaultLimits are those of the head.
var DefaultLimits = Limits{Names: 10_000, Bytes: 64 << 20}

// Key is the place of a Rollup in a Set.
type Key struct {
	Name   string
	Bucket int64 // its first microsecond
}

// Set is a bounded collection of rollups by task name and bucket. Whatever is
// added is counted once: in its own rollup; if there are too many names, or
// seven eighths of the memory are in use, in that of Other and its bucket; and
// when the memory is nearly used up, in Rest. The sum over all of them is exact.
type Set struct {
	width   Width
	limits  Limits
	flat    bool // names do not matter
	rollups map[Key]*Rollup
	names   map[string]int // buckets of each
	bytes   int64
	rest    Rollup
	folded  uint64

	last   *Rollup // of lastAt: rows come in runs
	lastAt Key
	dec    Decoder
	groups map[string]string // worker to worker group
}

// entryBytes is what a rollup costs beside what grows: itself, its key, and
// its place in the map, which may be half empty.
const entryBytes = int64(unsafe.Sizeof(Rollup{})) + 2*int64(unsafe.Sizeof(Key{})) + 64

// maxGroups bounds the memory of the worker groups that a Set remembers.
const maxGroups = 1024

// NewSet returns an empty Set of one bucket width.
func NewSet(width Width, limits Limits) *Set {
	s := &Set{width: width, limits: limits}
	s.Reset()
	return s
}

// Only makes the set leave out what a question is not about. Call it before
// anything is added, and for both sides of a Subtract.
func (s *Set) Only(d Depth) { s.dec.depth = d }

// Flat makes the set count all names together, under "". Call it before anything
// is added, and for both sides of a Subtract.
func (s *Set) Flat() { s.flat = true }

// Reset empties the set.
func (s *Set) Reset() {
	*s = Set{width: s.width, limits: s.limits, flat: s.flat, rollups: map[Key]*Rollup{}, names: map[string]int{},
		groups: map[string]string{}, dec: Decoder{depth: s.dec.depth, names: s.dec.names}}
}

// Add counts an invocation in the bucket of its row time.
func (s *Set) Add(v *task.Invocation) {
	r := s.place(v.TaskName, v.RowTime(), 1)
	before := r.footprint()
	switch s.dec.depth {
	case Whole:
		r.add(v, s.group(v.Worker), true)
	case Runtimes:
		r.addRuntime(v)
	default:
		r.Counts.add(v)
	}
	s.grown(r, before)
}

// group remembers what task.WorkerGroup says: few workers run many tasks.
func (s *Set) group(worker string) string {
	if g, ok := s.groups[worker]; ok {
		return g
	}
	if len(s.groups) >= maxGroups {
		clear(s.groups)
	}
	w := strings.Clone(worker)
	g := task.WorkerGroup(w)
	s.groups[w] = g
	return g
}

// Merge adds a rollup of a task to the bucket that holds a time.
func (s *Set) Merge(name string, at int64, o *Rollup) {
	r := s.place(name, at, o.Total())
	before := r.footprint()
	switch s.dec.depth {
	case Whole:
		r.Merge(o)
	case Runtimes:
		r.Counts.merge(&o.Counts)
		r.Runtime.Merge(&o.Runtime)
	default:
		r.Counts.merge(&o.Counts)
	}
	s.grown(r, before)
}

// MergeBinary is Merge of an encoded rollup. On an error the set stays as it was.
func (s *Set) MergeBinary(name string, at int64, b []byte) error {
	if err := s.dec.Decode(&s.dec.scratch, b); err != nil {
		return err
	}
	s.Merge(name, at, &s.dec.scratch)
	return nil
}

// place finds the rollup that n invocations are to be counted in.
func (s *Set) place(name string, at int64, n uint64) *Rollup {
	if s.flat {
		name = ""
	}
	k := Key{name, s.width.Start(at)}
	if s.last != nil && k == s.lastAt {
		return s.last
	}
	r, ok := s.rollups[k]
	if !ok && (s.Full() || s.names[name] == 0 && len(s.names) >= s.limits.Names) {
		k.Name = Other
		r, ok = s.rollups[k]
	}
	if s.exhausted() {
		r, ok, k.Name = &s.rest, true, Other
	}
	if !ok {
		r = s.insert(k)
	}
	if k.Name != name {
		s.folded += n
	} else if !s.Full() {
		s.last, s.lastAt = r, k
	}
	return r
}

func (s *Set) insert(k Key) *Rollup {
	k.Name = strings.Clone(k.Name)
	r := &Rollup{}
	s.rollups[k] = r
	s.names[k.Name]++
	s.bytes += entryBytes + 2*int64(len(k.Name))
	return r
}

// grown accounts for what an addition to r took.
func (s *Set) grown(r *Rollup, before int64) {
	if r == &s.rest {
		return // bounded by itself
	}
	s.bytes += r.footprint() - before
	if s.Full() {
		s.last = nil // every addition looks at the limits from now on
	}
}

// footprint is the memory that r holds beside itself.
func (r *Rollup) footprint() int64 {
	n := (cap(r.Runtime.bins) + cap(r.Wait.bins)) * int(unsafe.Sizeof(bin{}))
	for _, t := range [...]*Top{&r.Workers, &r.Queues, &r.Exceptions} {
		n += cap(t.entries)*int(unsafe.Sizeof(entry{})) + t.text
	}
	return int64(n)
}

// Get returns the rollup of a task in the bucket that holds a time; nil if the
// set has none of its own.
func (s *Set) Get(name string, at int64) *Rollup {
	if s.flat {
		name = ""
	}
	return s.rollups[Key{name, s.width.Start(at)}]
}

// Rest is what no bucket was left for; usually empty. A caller that can write
// the set out does so when Full says so, and Rest stays empty.
func (s *Set) Rest() *Rollup { return &s.rest }

// Full reports whether new tasks and buckets are no longer counted apart for
// want of memory.
func (s *Set) Full() bool { return s.bytes >= s.limits.Bytes/8*7 }

// exhausted is when nothing may grow any more. The last sixteenth is for what
// one addition may take, and for Rest.
func (s *Set) exhausted() bool { return s.bytes >= s.limits.Bytes/16*15 }

// Folded is how many invocations were not counted under their own name.
func (s *Set) Folded() uint64 { return s.folded }

// Len is the number of rollups, Rest aside.
func (s *Set) Len() int { return len(s.rollups) }

// Bytes is the memory that the set holds, Rest aside.
func (s *Set) Bytes() int64 { return s.bytes }

// All yields the rollups by name, then bucket, Rest aside.
func (s *Set) All() iter.Seq2[Key, *Rollup] {
	keys := make([]Key, 0, len(s.rollups))
	for k := range s.rollups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Bucket, b.Bucket))
	})
	return func(yield func(Key, *Rollup) bool) {
		for _, k := range keys {
			if !yield(k, s.rollups[k]) {
				return
			}
		}
	}
}
