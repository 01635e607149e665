package head

import "daybook/tsdb/task"

// LogFloor raises the retention floor, the first day that is kept, and makes it
// durable, before anything is deleted. One
// that is not believed (WrongFloor) gives way to what retention says now.
func (h *Head) LogFloor(day task.Day) error { return h.logState(day, never) }

// LogDeleted makes durable that rows from before a day are deleted, before they
// are. The floor does not say that there were any.
func (h *Head) LogDeleted(before task.Day) error { return h.logState(never, before) }

// logState raises floor and gone, and logs them if that is news.
func (h *Head) logState(floor, gone task.Day) error {
	h.mu.Lock()
	floor, gone = max(h.believed(), floor), max(h.gone, gone)
	h.floor, h.gone = floor, gone
	if floor == h.loggedFloor && gone == h.loggedGone {
		h.mu.Unlock()
		return nil
	}
	ticket := h.log.Enqueue(encodeState(h.nextCut, floor, gone))
	h.mu.Unlock()
	if err := h.log.Wait(ticket); err != nil {
		return err
	}
	if err := h.log.Sync(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loggedFloor, h.loggedGone = floor, gone
	return nil
}

// Floor is the retention floor: the first day that is kept. Of a floor that is not
// believed it is what retention by age says instead.
func (h *Head) Floor() task.Day {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.believed()
}

// WrongFloor returns the floor if it is not believed.
func (h *Head) WrongFloor() (floor task.Day, wrong bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.floor, h.believed() != h.floor
}

// believed is the floor that counts. Retention never raises it beyond the day in
// which it runs, so that one beyond today was raised by a clock that was ahead, or is
// looked at by one that is behind; either way nothing may be refused or let go for
// it. It is believed again when its day has come, until LogFloor replaces it: the caller
// does that only when the clock has gone on for a while, so that one that is
// behind for a moment does not throw a right floor away. What remains: a clock that is
// behind by more than retention for longer does, and until it is right and retention has run
// again, events about runs that were deleted are taken for new ones; and a floor
// that deleting for space had raised is not known any more. The caller holds mu.
func (h *Head) believed() task.Day {
	if h.floor == never {
		return never
	}
	now := h.opts.Now()
	if h.floor <= task.DayOf(now.UnixMicro()) {
		return h.floor
	}
	if h.opts.Retention == 0 {
		return never
	}
	return task.DayOf(now.Add(-h.opts.Retention).UnixMicro())
}

// Deleted is the day before which rows have been deleted, if any have.
func (h *Head) Deleted() (before task.Day, some bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.gone, h.gone > never
}
