package rollup

import (
	"cmp"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

// TopNames is how many names a Top keeps apart. It is part of the format:
// rollups of different bounds do not merge associatively.
const TopNames = 128

// Top counts names: workers, queues, exception types. The zero Top is empty.
//
// Of the names it has ever been told it keeps the TopNames whose (hash, name)
// is least; the rest are counted together in other. A name that is among the
// least of everything is among the least of every part it occurs in, so its
// count is exact however the parts were merged, and it is exact after
// Subtract. Keeping the most frequent ones instead would be neither: what is
// rare in each part may be frequent in all.
type Top struct {
	entries []entry // ascending name; n is 0 only while other is not
	other   uint64
	worst   string // the greatest (hash, name) of a full Top; "" if not known
	text    int    // bytes of names
}

type entry struct {
	name string
	n    uint64
}

// before orders names by hash: an order that no count and no arrival changes.
func before(a, b string) bool {
	if c := cmp.Compare(task.HashID(a), task.HashID(b)); c != 0 {
		return c < 0
	}
	return a < b
}

// Add counts a name once; the empty name says that none is known.
func (t *Top) Add(name string) { t.add(name, true) }

// add is Add; own says that the name is copied if it stays: it may be a part
// of a whole decoded record.
func (t *Top) add(name string, own bool) {
	if name == "" {
		return
	}
	i, found := t.find(name)
	switch {
	case found:
		t.entries[i].n++
		return
	case len(t.entries) >= TopNames && before(t.findWorst(), name):
		t.other++
		return
	}
	if own {
		name = strings.Clone(name)
	}
	full := len(t.entries) >= TopNames
	t.insert(i, entry{name, 1})
	if full {
		t.letGo()
	}
}

func (t *Top) find(name string) (int, bool) {
	lo, hi := 0, len(t.entries)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if t.entries[mid].name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(t.entries) && t.entries[lo].name == name
}

func (t *Top) insert(i int, e entry) {
	t.entries = slices.Insert(t.entries, i, e)
	t.text += len(e.name)
	t.worst = ""
}

func (t *Top) findWorst() string {
	if t.worst == "" {
		for i := range t.entries {
			if t.worst == "" || before(t.worst, t.entries[i].name) {
				t.worst = t.entries[i].name
			}
		}
	}
	return t.worst
}

// letGo lets go of the names beyond the bound: there may be any number of them.
func (t *Top) letGo() {
	if len(t.entries) <= TopNames {
		return
	}
	var room [2 * TopNames]uint64
	hashes := room[:0]
	for i := range t.entries {
		hashes = append(hashes, task.HashID(t.entries[i].name))
	}
	var copied [2 * TopNames]uint64
	sorted := append(copied[:0], hashes...)
	slices.Sort(sorted)
	last := sorted[TopNames-1]
	left := 1 // of the names with that hash, of which the lesser ones stay
	for i := TopNames - 2; i >= 0 && sorted[i] == last; i-- {
		left++
	}
	kept := t.entries[:0]
	for i, e := range t.entries {
		switch {
		case hashes[i] < last:
		case hashes[i] == last && left > 0:
			left--
		default:
			t.other += e.n
			t.text -= len(e.name)
			continue
		}
		kept = append(kept, e)
	}
	clear(t.entries[len(kept):])
	t.entries, t.worst = kept, ""
}

// dropZeros removes the names that Subtract has emptied. While others were let
// go, they hold their place: the names behind them are not known. Only Subtract
// makes other less, so that nothing else has to look for them.
func (t *Top) dropZeros() {
	if t.other != 0 {
		return
	}
	t.entries = slices.DeleteFunc(t.entries, func(e entry) bool {
		if e.n == 0 {
			t.text -= len(e.name)
			t.worst = ""
		}
		return e.n == 0
	})
}

// Merge adds everything in o, which it does not change.
func (t *Top) Merge(o *Top) {
	t.other += o.other
	var room [TopNames]entry
	missing, i := room[:0], 0
	worst, full := uint64(0), len(t.entries) >= TopNames
	for j := range o.entries {
		e := &o.entries[j]
		for i < len(t.entries) && t.entries[i].name < e.name {
			i++
		}
		if i < len(t.entries) && t.entries[i].name == e.name {
			t.entries[i].n += e.n
			continue
		}
		// Behind the worst of a full Top there is no room, whatever else comes.
		if full {
			if worst == 0 {
				worst = task.HashID(t.findWorst())
			}
			if task.HashID(e.name) > worst {
				t.other += e.n
				continue
			}
		}
		missing = append(missing, *e)
	}
	if len(missing) > 0 {
		t.mergeMissing(missing)
		t.letGo()
	}
}

// mergeMissing inserts names that t does not have.
func (t *Top) mergeMissing(o []entry) {
	i := len(t.entries) - 1
	t.entries = slices.Grow(t.entries, len(o))[:len(t.entries)+len(o)]
	w := len(t.entries) - 1
	for j := len(o) - 1; j >= 0; j-- {
		for i >= 0 && t.entries[i].name > o[j].name {
			t.entries[w] = t.entries[i]
			i, w = i-1, w-1
		}
		t.entries[w] = o[j]
		t.text += len(o[j].name)
		w--
	}
	t.worst = ""
}

// Subtract takes away o, which must be of occurrences that are in t. On an
// error t is of no more use.
func (t *Top) Subtract(o *Top) error {
	gone := o.other
	for _, e := range o.entries {
		i, found := t.find(e.name)
		switch {
		case !found:
			gone += e.n // it was let go of here
		case t.entries[i].n < e.n:
			return errNotContained
		default:
			t.entries[i].n -= e.n
		}
	}
	if gone > t.other {
		return errNotContained
	}
	t.other -= gone
	t.dropZeros()
	return nil
}

// total is how many occurrences were counted.
func (t *Top) total() uint64 {
	n := t.other
	for i := range t.entries {
		n += t.entries[i].n
	}
	return n
}

// agrees reports whether t counts what exact counts. After Subtract a Top that
// had let names go may know fewer of them, never others or other counts.
func (t *Top) agrees(exact *Top) bool {
	for _, e := range t.entries {
		i, found := exact.find(e.name)
		if e.n != 0 && (!found || exact.entries[i].n != e.n) {
			return false
		}
	}
	return t.total() == exact.total() && (t.other != 0 || len(t.entries) == len(exact.entries))
}

func (t *Top) equal(o *Top) bool { return t.other == o.other && slices.Equal(t.entries, o.entries) }

func (t *Top) clone() Top {
	c := *t
	c.entries = slices.Clone(t.entries)
	return c
}

// reset empties t and keeps its memory.
func (t *Top) reset() {
	clear(t.entries)
	*t = Top{entries: t.entries[:0]}
}

// Count is a name and how often it occurred.
type Count struct {
	Name  string
	Count uint64
}

// Ranking is the head of a Top.
type Ranking struct {
	Named []Count // the most frequent first, then by name
	Other uint64  // all occurrences that are not in Named
}

// Rank lists the n most frequent of the names that were kept apart.
func (t *Top) Rank(n int) Ranking {
	r := Ranking{Other: t.other, Named: make([]Count, 0, len(t.entries))}
	for _, e := range t.entries {
		if e.n > 0 {
			r.Named = append(r.Named, Count{e.name, e.n})
		}
	}
	slices.SortFunc(r.Named, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	n = max(n, 0)
	for i := n; i < len(r.Named); i++ {
		r.Other += r.Named[i].Count
	}
	r.Named = r.Named[:min(n, len(r.Named))]
	return r
}
