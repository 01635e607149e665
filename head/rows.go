package head

import (
	"iter"
	"slices"
	"sync/atomic"

	"daybook/tsdb/task"
)

// chunkRows is how many invocations change hands with a snapshot at once: 8 KiB of
// pointers and times are copied for one that changes afterwards.
const chunkRows = 512

// rowChunk is a part of the head's invocations, and their row times: a look into each
// of them, all over the memory, takes 0.1 µs.
type rowChunk struct {
	shared atomic.Bool // with a snapshot: never changed any more
	ats    [chunkRows]int64
	invs   [chunkRows]*task.Invocation
}

// Rows are invocations by slot. Copying all of them for every query took 1.7 ms, more
// than a page of the newest did otherwise; a snapshot shares the chunks, and whoever
// changes one afterwards changes a copy.
type Rows struct {
	chunks []*rowChunk
	n      int
}

// Len is how many there are.
func (r *Rows) Len() int { return r.n }

// All are the invocations with their row times, in microseconds.
func (r *Rows) All() iter.Seq2[int64, *task.Invocation] {
	return func(yield func(int64, *task.Invocation) bool) {
		for i := range r.n {
			if c := r.chunks[i/chunkRows]; !yield(c.ats[i%chunkRows], c.invs[i%chunkRows]) {
				return
			}
		}
	}
}

// Backward is All from the end.
func (r *Rows) Backward() iter.Seq2[int64, *task.Invocation] {
	return func(yield func(int64, *task.Invocation) bool) {
		for i := r.n - 1; i >= 0; i-- {
			if c := r.chunks[i/chunkRows]; !yield(c.ats[i%chunkRows], c.invs[i%chunkRows]) {
				return
			}
		}
	}
}

// Slice are the invocations.
func (r *Rows) Slice() []*task.Invocation {
	out := make([]*task.Invocation, 0, r.n)
	for _, v := range r.All() {
		out = append(out, v)
	}
	return out
}

// at is what is in a slot.
func (r *Rows) at(slot int) *task.Invocation { return r.chunks[slot/chunkRows].invs[slot%chunkRows] }

// share is a copy that does not change with r. It may be called by several at once,
// while nobody changes r.
func (r *Rows) share() Rows {
	for _, c := range r.chunks {
		if !c.shared.Load() {
			c.shared.Store(true)
		}
	}
	return Rows{slices.Clone(r.chunks), r.n}
}

// own is a chunk that may be changed.
func (r *Rows) own(i int) *rowChunk {
	c := r.chunks[i]
	if c.shared.Load() {
		c = &rowChunk{ats: c.ats, invs: c.invs}
		r.chunks[i] = c
	}
	return c
}

// push makes a slot behind the others, for set to fill.
func (r *Rows) push() {
	if r.n == len(r.chunks)*chunkRows {
		r.chunks = append(r.chunks, &rowChunk{})
	}
	r.n++
}

// set puts an invocation into a slot.
func (r *Rows) set(slot int, v *task.Invocation) {
	c := r.own(slot / chunkRows)
	c.invs[slot%chunkRows], c.ats[slot%chunkRows] = v, v.RowTime()
}

// pop takes the last slot away.
func (r *Rows) pop() {
	r.n--
	last := r.n / chunkRows
	if r.n%chunkRows == 0 {
		r.chunks[last] = nil
		r.chunks = r.chunks[:last]
		return
	}
	r.own(last).invs[r.n%chunkRows] = nil
}
