package head

import (
	"daybook/head/wal"
	"daybook/tsdb/task"
)

// Candidate is an entry that can be cut.
type Candidate struct {
	Inv    *task.Invocation // in the state in which it is to be stored
	Based  bool             // a day may hold a row of it already
	Parked bool             // the parked file holds a row of it
	entry  *entry
	orig   *task.Invocation
}

// Ready returns up to limit entries that are to be cut into days: finished or
// given up, and settled (or all of them, if all is set). Open ones whose last
// event is older than the open timeout are given up: at that moment, but never
// before the start of the present day; none as long as the clock is not steady.
// One that was touched at a time that is yet to come, before the clock went back, is
// settled: it must not wait, and hold up all behind it, until that time comes again.
func (h *Head) Ready(all bool, limit int) []Candidate {
	steady := h.opts.Steady == nil || h.opts.Steady() // before mu, which it knows nothing of
	now := h.opts.Now().UnixMicro()
	settle := h.opts.Settle.Microseconds()
	settled := func(e *entry) bool { return all || now-e.touched >= settle || e.touched-now >= settle }
	timeout := h.opts.OpenTimeout.Microseconds()
	today := task.DayOf(now).Start()
	h.mu.RLock()
	defer h.mu.RUnlock()
	var out []Candidate
	for e := h.done.first; e != nil && len(out) < limit && settled(e); e = e.next {
		if !e.cutting {
			out = append(out, candidate(e, e.inv))
		}
	}
	for e := h.open.first; e != nil && steady && len(out) < limit && settled(e); e = e.next {
		if e.cutting || e.inv.UpdatedAt+timeout > now {
			continue
		}
		given := *e.inv
		given.GivenUpAt = max(given.UpdatedAt+timeout, today)
		out = append(out, candidate(e, &given))
	}
	return out
}

// Idle returns up to limit open entries to be parked, the longest without an
// event first. Those that a day may hold a row of stay: a listing would show
// that row beside the parked one. See Reopened.
func (h *Head) Idle(limit int) []Candidate {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var out []Candidate
	for e := h.open.first; e != nil && len(out) < limit; e = e.next {
		if !e.cutting && len(e.rows) == 0 {
			out = append(out, candidate(e, e.inv))
		}
	}
	return out
}

// Reopened returns up to limit open entries that a day holds a row of, the longest
// without an event first: an event came after they were given up. For a head that is
// full, they are given up again, with that event: whatever comes later opens them
// again. As in Ready it is never before the start of the present day; while the clock
// is not steady, which then says nothing, but an entry that would expire stays.
func (h *Head) Reopened(limit int) []Candidate {
	steady := h.opts.Steady == nil || h.opts.Steady() // before mu, as in Ready
	today := task.DayOf(h.opts.Now().UnixMicro()).Start()
	h.mu.RLock()
	defer h.mu.RUnlock()
	floor := h.believed()
	var out []Candidate
	for e := h.open.first; e != nil && len(out) < limit; e = e.next {
		if e.cutting || len(e.rows) == 0 {
			continue
		}
		given := *e.inv
		if given.GivenUpAt = given.UpdatedAt; steady {
			given.GivenUpAt = max(given.UpdatedAt, today)
		}
		if given.Day() >= floor {
			out = append(out, candidate(e, &given))
		}
	}
	return out
}

func candidate(e *entry, v *task.Invocation) Candidate {
	return Candidate{Inv: v, Based: len(e.rows) > 0 || e.unresolved, Parked: e.parked, entry: e, orig: e.inv}
}

// Cut is a cut that has begun.
type Cut struct {
	ID         uint64
	Day        task.Day // or Parked
	Candidates []Candidate
	Ticket     wal.Ticket
}

// BeginCut takes those candidates that have not changed since, gives the cut
// its id and enqueues its record. The record must be on disk (SyncCut) before
// the day's transaction. It does not name ids of which something is stored
// elsewhere: that has to be deleted after the transaction, and a replay that
// finds these ids still in the head, and their rows in two places, does it
// again. Of a day below the retention floor, whose rows are deleted, it names all:
// a replay would find nothing stored of them, and take what the log has for new
// invocations. While the head replays its log, logged is false: the
// record would stand behind events that are not replayed yet.
func (h *Head) BeginCut(day task.Day, cs []Candidate, logged bool) *Cut {
	h.mu.Lock()
	defer h.mu.Unlock()
	floor := h.believed()
	c := &Cut{ID: h.nextCut, Day: day, Candidates: make([]Candidate, 0, len(cs))}
	h.nextCut++
	ids := make([]string, 0, len(cs))
	for _, x := range cs {
		if x.entry.cutting || x.entry.list == nil || x.entry.inv != x.orig {
			continue
		}
		x.entry.cutting = true
		c.Candidates = append(c.Candidates, x)
		if !x.Based && !x.Parked || day >= 0 && day < floor {
			ids = append(ids, x.Inv.TaskID)
		}
	}
	if len(c.Candidates) > 0 {
		h.active[c] = struct{}{}
	}
	if logged && len(ids) > 0 {
		c.Ticket = h.log.Enqueue(encodeCut(c.ID, day, ids))
	}
	return c
}

// SyncCut makes a cut's record, and all before it, durable, whatever the policy.
func (h *Head) SyncCut(c *Cut) error {
	if err := h.log.Wait(c.Ticket); err != nil {
		return err
	}
	return h.log.Sync()
}

// Outcome is how a cut ended.
type Outcome int

const (
	// NotStored: nothing of the cut is in its day.
	NotStored Outcome = iota
	// Stored: the cut is done.
	Stored
	// Unfinished: the rows are in their day, but what they supersede elsewhere
	// is still there. The entries stay, and hide it, until the next cut.
	Unfinished
	// Unstored: what was stored of the entries anywhere is deleted. They stay.
	Unstored
	// Expired: nothing was stored, and entries that have not changed are forgotten.
	Expired
)

// FinishCut ends a cut. If it was stored, what has not changed meanwhile is
// forgotten; what has, stays and knows that a row of it is stored.
func (h *Head) FinishCut(c *Cut, end Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.active, c)
	if end != NotStored {
		h.gen++
	}
	for _, x := range c.Candidates {
		e := x.entry
		e.cutting = false
		switch {
		case end == NotStored || e.list == nil:
		case end == Unstored:
			h.setRows(e, nil)
			h.setParked(e, false)
		case end == Unfinished:
			// The row in the same day is replaced, those in others are still there.
			rows := []*task.Invocation{x.Inv}
			for _, old := range e.rows {
				if old.Day() != c.Day {
					rows = append(rows, old)
				}
			}
			h.setRows(e, rows)
		case e.inv == x.orig:
			h.remove(e)
		case end == Expired:
		case c.Day == Parked:
			h.setParked(e, true)
		default:
			h.setRows(e, []*task.Invocation{x.Inv})
			h.setParked(e, false)
		}
	}
}

// CutSeen makes sure that no later cut gets an id up to cut.
func (h *Head) CutSeen(cut uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nextCut = max(h.nextCut, cut+1)
}

// DropOldest makes room by forgetting a tenth of the cap, of records or of
// bytes, whichever comes first, and at least one: the oldest finished, and if there are none the longest idle open ones. It
// logs what it drops, so that a replay does not bring it back, and returns
// their ids.
func (h *Head) DropOldest() []string {
	now := h.opts.Now().UnixMicro()
	h.mu.Lock()
	defer h.mu.Unlock()
	n, least := max(1, h.opts.MaxRecords/10), h.bytes-h.opts.MaxBytes/10
	var ids []string
	oldest := now
	for _, l := range []*list{&h.done, &h.open} {
		for e := l.first; e != nil && int64(len(ids)) < n && (h.bytes > least || len(ids) == 0); {
			next := e.next
			if !e.cutting {
				ids = append(ids, e.inv.TaskID)
				oldest = min(oldest, e.inv.RowTime())
				h.remove(e)
			}
			e = next
		}
	}
	if len(ids) > 0 {
		h.log.Enqueue(encodeDrop(ids), h.gap(h.dropGap(oldest, now, int64(len(ids)))))
	}
	return ids
}
