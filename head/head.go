package head

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"daybook/head/wal"
	"daybook/tsdb/task"
)

// Options configure a Head.
type Options struct {
	MaxRecords  int64 // hard cap on entries
	MaxBytes    int64 // hard cap on their bytes, reserved ones included
	Settle      time.Duration
	OpenTimeout time.Duration
	Retention   time.Duration // by age; 0 keeps for ever
	Now         func() time.Time
	// Steady reports whether the clock has not jumped of late: nothing is given up
	// unless it is. nil: always. It is called without locks of the head.
	Steady func() bool
}

// Head is the recent invocations. All methods are safe for concurrent use
// unless they say otherwise.
type Head struct {
	opts Options
	log  *wal.Log

	inflight atomic.Int64 // bytes reserved for bodies that are being decoded

	mu          sync.RWMutex // before the log's own lock, which Enqueue takes; no I/O under it
	byID        map[string]*entry
	slots       []*entry // dense, for snapshots
	rows        Rows     // of slot i slots[i].inv
	open        list     // by the arrival of the last event
	done        list     // finished or given up, the same
	bytes       int64
	seq         uint64
	gen         uint64 // counts what has left the head for a file
	nextCut     uint64
	floor       task.Day // see believed
	gone        task.Day // rows of days before this one have been deleted; never if none have
	loggedFloor task.Day // what of floor and gone is durable
	loggedGone  task.Day
	gaps        task.GapSet         // that are in no file yet
	drops       task.Gap            // of the overflow policy, the newest
	dropsSince  int64               // the first drop of it
	gapsLogged  bool                // SyncGaps has nothing to do
	reserved    int64               // ids in promised that the head does not hold: with what it holds at most MaxRecords
	promised    map[string]int      // by how many requests that are all or none
	stored      map[*entry]struct{} // entries of which a day holds a row
	parked      int64               // entries of which the parked file holds a row
	active      map[*Cut]struct{}   // cuts that have begun
}

// entry is one task_id. inv is never changed in place: a merge replaces it, so
// that snapshots are pointers.
type entry struct {
	inv        *task.Invocation
	size       int64
	touched    int64  // arrival of the last event, microseconds
	since      uint64 // sequence number of its insertion
	slot       int
	rows       []*task.Invocation // what days hold of this id; more than one while a move is unfinished
	parked     bool               // the parked file holds a row of this id
	unresolved bool               // replayed; whether a row is stored is not known yet
	cutting    bool               // part of a cut that has begun
	list       *list
	prev, next *entry
}

// never is a day far before all others.
const never task.Day = -1 << 30

// New makes a Head over a log. Replay the log before anything else.
func New(log *wal.Log, o Options) *Head {
	return &Head{opts: o, log: log, byID: map[string]*entry{}, promised: map[string]int{}, stored: map[*entry]struct{}{}, active: map[*Cut]struct{}{}, nextCut: 1,
		floor: never, gone: never, loggedFloor: never, loggedGone: never}
}

// Base is what is stored of an id that is new to the head.
type Base struct {
	Inv    *task.Invocation   // all that is stored, merged; nil if nothing is
	Rows   []*task.Invocation // what days hold of it
	Parked bool               // the parked file holds a row of it
	// Alone says that Rows is one row, durable and in the day to which it belongs: an
	// event that adds nothing to it need not be taken in.
	Alone bool
}

// knows reports whether the row that is stored says everything that an event says. One
// that was sent twice, or a dump that is imported again, would otherwise be logged, cut
// and written over itself: 0.2 ms of CPU each in a live day of 2 million, of which this
// spares all but looking the row up, and of a sealed day another seal.
func (b *Base) knows(v *task.Invocation, now int64) bool {
	if !b.Alone || v.UpdatedAt > b.Rows[0].UpdatedAt {
		return false
	}
	m := task.Merge(reopened(b.Inv, v, now), *v)
	return same(&m, b.Rows[0])
}

// same reports whether two invocations say the same.
func same(a, b *task.Invocation) bool {
	return bytes.Equal(task.AppendBinary(nil, a), task.AppendBinary(nil, b))
}

// Missing returns those ids that the head does not hold, without repetition,
// and the head's generation: what is found stored of them is good for Append
// as long as nothing has left the head for a file since.
func (h *Head) Missing(ids []string) (out []string, gen uint64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	seen := map[string]bool{}
	for _, id := range ids {
		if h.byID[id] == nil && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out, h.gen
}

// Applied says how far an Append came.
type Applied struct {
	N          int        // invocations applied and enqueued, or known already, from the start
	Known      int        // those of N that say nothing new about a row that is stored: nothing is kept of them
	Unresolved bool       // the next one needs a base that was not given, or is out of date
	Full       bool       // the next one does not fit under the caps
	Ticket     wal.Ticket // zero if all were known
}

// Append merges invocations, in order, until one has no base or does not fit.
// bases must name every id that Missing returned with gen; records are Encode's
// of the same invocations, of which those applied are taken. promised says that
// Promise has made room.
func (h *Head) Append(invs []*task.Invocation, records *Records, bases map[string]Base, gen uint64, promised bool) Applied {
	now := h.opts.Now().UnixMicro()
	h.mu.Lock()
	defer h.mu.Unlock()
	var a Applied
	var known []int
	for _, v := range invs {
		e := h.byID[v.TaskID]
		base, resolved := bases[v.TaskID]
		if e == nil && (!resolved || gen != h.gen) {
			a.Unresolved = true
			break
		}
		if e == nil && base.knows(v, now) {
			known = append(known, a.N)
			a.N++
			continue
		}
		if !h.fits(e == nil, v.Size(), promised) {
			a.Full = true
			break
		}
		h.apply(e, v, base, now)
		a.N++
	}
	a.Known = len(known)
	if recs := records.take(a.N, known); len(recs) > 0 {
		a.Ticket = h.log.Enqueue(recs...)
	}
	return a
}

// Wait returns when everything up to a ticket is durable by the log's policy.
func (h *Head) Wait(t wal.Ticket) error { return h.log.Wait(t) }

// WaitContext is Wait that ends with ctx.
func (h *Head) WaitContext(ctx context.Context, t wal.Ticket) error { return h.log.WaitContext(ctx, t) }

// fits reports whether one more entry, or more bytes, stay under the caps.
func (h *Head) fits(isNew bool, size int64, promised bool) bool {
	n := int64(len(h.slots))
	if !promised {
		n += h.reserved
	}
	if isNew && n >= h.opts.MaxRecords {
		return false
	}
	return promised || len(h.slots) == 0 || h.bytes+h.inflight.Load()+size <= h.opts.MaxBytes
}

// apply merges v into e, or into a new entry on its base. The caller holds mu.
func (h *Head) apply(e *entry, v *task.Invocation, base Base, now int64) {
	m := *v // the caller may use its memory again
	switch {
	case e != nil:
		m = task.Merge(reopened(e.inv, v, now), *v)
	case base.Inv != nil:
		m = task.Merge(reopened(base.Inv, v, now), *v)
	}
	merged := &m
	if e == nil {
		h.seq++
		e = &entry{since: h.seq, slot: len(h.slots)}
		h.setRows(e, base.Rows)
		h.setParked(e, base.Parked)
		h.byID[merged.TaskID] = e
		if h.promised[merged.TaskID] > 0 {
			h.reserved--
		}
		h.slots = append(h.slots, e)
		h.rows.push()
	}
	h.set(e, merged, now)
}

// reopened is known as news is to be merged into it. An event after it was given up
// opens an invocation again, which Merge sees to; but at a time that is yet to
// come it was given up by a clock that was ahead, and no event of now would be after
// that. It is left out here and not by Merge, which asks no clock and must not.
func reopened(known, news *task.Invocation, now int64) task.Invocation {
	v := *known
	if v.GivenUpAt > now && news.UpdatedAt > v.UpdatedAt {
		v.GivenUpAt = 0
	}
	return v
}

// set gives e a new state and its place in the lists. The caller holds mu.
func (h *Head) set(e *entry, v *task.Invocation, now int64) {
	h.bytes -= e.size
	e.inv, e.size, e.touched = v, v.Size(), now
	h.bytes += e.size
	h.rows.set(e.slot, v)
	if e.list != nil {
		e.list.remove(e)
	}
	if v.Open() {
		h.open.push(e)
	} else {
		h.done.push(e)
	}
}

// setRows notes which rows days hold of e. The caller holds mu.
func (h *Head) setRows(e *entry, rows []*task.Invocation) {
	if e.rows = rows; len(rows) > 0 {
		h.stored[e] = struct{}{}
	} else {
		delete(h.stored, e)
	}
}

// setParked notes whether the parked file holds a row of e. The caller holds mu.
func (h *Head) setParked(e *entry, parked bool) {
	switch {
	case parked && !e.parked:
		h.parked++
	case e.parked && !parked:
		h.parked--
	}
	e.parked = parked
}

// remove forgets e. The caller holds mu.
func (h *Head) remove(e *entry) {
	delete(h.stored, e)
	h.setParked(e, false)
	h.bytes -= e.size
	e.list.remove(e)
	delete(h.byID, e.inv.TaskID)
	if h.promised[e.inv.TaskID] > 0 {
		h.reserved++
	}
	last := len(h.slots) - 1
	if e.slot != last {
		moved := h.slots[last]
		h.slots[e.slot], moved.slot = moved, e.slot
		h.rows.set(e.slot, moved.inv)
	}
	h.slots[last] = nil
	h.slots = h.slots[:last]
	h.rows.pop()
}

// ReserveBytes counts bytes of a body that is being decoded against the cap.
// It reports whether they fit; if so, ReleaseBytes them. Bodies get half of the
// cap at most: records must not have to go for what is not yet one.
func (h *Head) ReserveBytes(n int64) bool {
	h.mu.RLock()
	held := h.bytes
	h.mu.RUnlock()
	if all := h.inflight.Add(n); (all+held > h.opts.MaxBytes || all > h.opts.MaxBytes/2) && all != n {
		h.inflight.Add(-n)
		return false
	}
	return true
}

// ReleaseBytes gives reserved bytes back.
func (h *Head) ReleaseBytes(n int64) { h.inflight.Add(-n) }

// Promise keeps room for a request that is stored whole or not at all: also for
// ids that the head holds, which may leave it before they are appended. It
// reports false if there is none; otherwise the request must give it back.
func (h *Head) Promise(invs []*task.Invocation) (giveBack func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var n, size int64
	ids := make(map[string]struct{}, len(invs))
	for _, v := range invs {
		size += v.Size()
		if _, again := ids[v.TaskID]; again {
			continue
		}
		ids[v.TaskID] = struct{}{}
		if h.promised[v.TaskID] == 0 && h.byID[v.TaskID] == nil {
			n++
		}
	}
	if int64(len(h.slots))+h.reserved+n > h.opts.MaxRecords || h.bytes+h.inflight.Load()+size > h.opts.MaxBytes {
		return nil, false
	}
	h.reserved += n
	for id := range ids {
		h.promised[id]++
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for id := range ids {
			if h.promised[id]--; h.promised[id] > 0 {
				continue
			}
			delete(h.promised, id)
			if h.byID[id] == nil {
				h.reserved--
			}
		}
	}, true
}

// Stats are the head's figures.
type Stats struct {
	Records, Bytes, Inflight, Open int64
	Oldest, Newest                 int64 // row times; 0 if empty
	// Stored and Parked are the rows that days and the parked file hold of the same ids;
	// while Moving, rows are on their way from the one to the other.
	Stored, Parked int64
	Moving         bool
}

// Stats counts; the bounds are found by a walk over all entries.
func (h *Head) Stats() Stats {
	h.mu.RLock()
	s := h.snapshot()
	st := Stats{Records: int64(s.Len()), Bytes: s.bytes, Inflight: h.inflight.Load(), Parked: h.parked, Moving: len(h.active) > 0}
	for e := range h.stored {
		st.Stored += int64(len(e.rows))
	}
	h.mu.RUnlock()
	for at, v := range s.All() {
		if st.Oldest == 0 || at < st.Oldest {
			st.Oldest = at
		}
		st.Newest = max(st.Newest, at)
		if v.Open() {
			st.Open++
		}
	}
	return st
}

// Held returns the bytes of the entries, without what is reserved.
func (h *Head) Held() int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.bytes
}

// Reserved returns the bytes that ReserveBytes has counted: of bodies that are
// being decoded.
func (h *Head) Reserved() int64 { return h.inflight.Load() }

// Size returns the number of entries and their bytes, reserved ones included.
func (h *Head) Size() (records, bytes int64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return int64(len(h.slots)), h.bytes + h.inflight.Load()
}

// Snapshot is the head at one moment. Its invocations are shared: read only.
type Snapshot struct {
	Rows
	h     *Head
	seq   uint64
	bytes int64
}

// Snapshot takes one.
func (h *Head) Snapshot() Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.snapshot()
}

// snapshot is Snapshot for who holds mu.
func (h *Head) snapshot() Snapshot {
	return Snapshot{Rows: h.rows.share(), h: h, seq: h.seq, bytes: h.bytes}
}

// Open are the invocations that are neither finished nor given up.
func (h *Head) Open() (out []*task.Invocation) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for e := h.open.first; e != nil; e = e.next {
		out = append(out, e.inv)
	}
	return out
}

// Holds reports whether an id was in the head at the time of the snapshot and
// still is: a stored row of it is then to be passed over. An entry cut since
// then is not held, for its row is visible now.
func (s *Snapshot) Holds(id string) bool {
	s.h.mu.RLock()
	defer s.h.mu.RUnlock()
	e := s.h.byID[id]
	return e != nil && e.since <= s.seq
}

// Get returns the head's state of an id; nil if it has none.
func (h *Head) Get(id string) *task.Invocation {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if e := h.byID[id]; e != nil {
		return e.inv
	}
	return nil
}
