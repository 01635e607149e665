package blocks

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
)

// A cut merges the runs of one group at most, and never more than a bounded
// number of entries: with sixteen runs of a level into one of the next, and that
// into the next again, the 256th cut of 20 000 rows merged five million entries,
// took 3 s of CPU where others take 0.15, and wrote 210 MB; the head filled
// meanwhile at half of the maximum rate (docs/adr/0019-bounded-merges.md).
//
// What is merged into more than a few entries is therefore split by the first
// bits of the hash, into runs that are no larger than those of cuts. Their groups
// are full at the same time, and wait for one cut after the other.
const (
	idFanout = 16 // runs that are merged into one, or parts of one
	// From this level on runs are parts: they have the hashes of some first bits,
	// four at idPartLevel and four more at each level behind it.
	idPartLevel = 8
	idPartBits  = 4
	maxIDLevel  = 64
)

// idMerges bounds merges, in entries.
type idMerges struct {
	whole int // of more a merge makes parts
	most  int // a merge has no more
}

// Sixteen cuts are a million rows at most; 320 000 take 0.1 s.
var boundedIDMerges = idMerges{whole: 64 << 10, most: 1 << 20}

// idGroup says which runs are merged with each other.
type idGroup struct {
	level int
	part  uint64 // the first bits of their hashes
}

// partOf is the part of a level that a hash belongs to.
func partOf(level int, hash uint64) uint64 {
	if level < idPartLevel {
		return 0
	}
	return hash >> max(0, 64-idPartBits*(level-idPartLevel+1))
}

func (r *idRun) group() idGroup { return idGroup{r.level, partOf(r.level, r.fences[0])} }

// due are runs to be merged: of the full groups that of the lowest level, its
// oldest runs that fit one merge. Those of an older version may be of any size.
// Whatever is merged with each other, every entry is found.
func (x *idIndex) due() []*idRun {
	groups := map[idGroup][]*idRun{}
	for _, r := range x.runs {
		groups[r.group()] = append(groups[r.group()], r)
	}
	var best idGroup
	var due []*idRun
	for g, runs := range groups {
		if len(runs) < idFanout || due != nil && cmp.Or(cmp.Compare(best.level, g.level), cmp.Compare(best.part, g.part)) <= 0 {
			continue
		}
		entries := 0
		runs = slices.DeleteFunc(runs, func(r *idRun) bool {
			if r.entries() > x.merges.most/2 || entries+r.entries() > x.merges.most {
				return true
			}
			entries += r.entries()
			return false
		})
		if runs = runs[:min(len(runs), idFanout)]; len(runs) > 1 {
			best, due = g, runs
		}
	}
	return due
}

// entries are about as many as the run has.
func (r *idRun) entries() int { return len(r.fences) * idPageEntries }

// merge makes some runs into one, or into parts.
func (x *idIndex) merge(ctx context.Context, c *conn, old []*idRun) (*idIndex, error) {
	level, n := old[0].level+1, 0
	for _, r := range old {
		n += r.entries()
	}
	if n > x.merges.whole {
		level = max(level, idPartLevel)
	}
	level = min(level, maxIDLevel)
	y := x.without(old)
	var w *idWriter
	err := mergeIDs(ctx, c, old, func(e entry) error {
		if w != nil && partOf(level, e.of) != partOf(level, w.last.of) {
			if err := y.take(w); err != nil {
				return err
			}
			w = nil
		}
		if w == nil {
			w = newIDWriter(c, y, level)
		}
		return w.add(e)
	})
	if err == nil && w != nil {
		err = y.take(w)
	}
	for _, r := range old {
		if err == nil {
			err = c.exec("DELETE FROM id_page WHERE id BETWEEN ? AND ?", r.page, r.page+int64(len(r.fences))-1)
		}
	}
	return y, err
}

// mergeIDs calls fn with the entries of some runs, in order.
func mergeIDs(ctx context.Context, c *conn, runs []*idRun, fn func(entry) error) error {
	var cursors idCursors
	for _, r := range runs {
		k := &idCursor{ctx: ctx, c: c, run: r}
		ok, err := k.next()
		if err != nil {
			return err
		}
		if ok {
			cursors = append(cursors, k)
		}
	}
	heap.Init(&cursors)
	for len(cursors) > 0 {
		k := cursors[0]
		if err := fn(k.e); err != nil {
			return err
		}
		ok, err := k.next()
		if err != nil {
			return err
		}
		if ok {
			heap.Fix(&cursors, 0)
		} else {
			heap.Pop(&cursors)
		}
	}
	return nil
}

// idCursor walks one run.
type idCursor struct {
	ctx  context.Context
	c    *conn
	run  *idRun
	page int // the next to read
	data []byte
	e    entry
}

func (k *idCursor) next() (bool, error) {
	if len(k.data) == 0 {
		if k.page == len(k.run.fences) {
			return false, nil
		}
		var err error
		if k.data, err = readIDPage(k.ctx, k.c, k.run.page+int64(k.page)); err != nil {
			return false, err
		}
		k.page++
	}
	k.e = pageEntry(k.data, 0)
	k.data = k.data[entryBytes:]
	return true, nil
}

// idCursors is a heap of cursors by their next entry.
type idCursors []*idCursor

func (h idCursors) Len() int           { return len(h) }
func (h idCursors) Less(i, j int) bool { return h[i].e.compare(h[j].e) < 0 }
func (h idCursors) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *idCursors) Push(x any)        { *h = append(*h, x.(*idCursor)) }
func (h *idCursors) Pop() any {
	last := len(*h) - 1
	k := (*h)[last]
	*h = (*h)[:last]
	return k
}
