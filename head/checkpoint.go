package head

import (
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// Checkpoint writes what the head holds beside the log and drops the segments
// before it. Events that arrive meanwhile are in the segments that stay; that
// the checkpoint may hold them too does no harm.
func (h *Head) Checkpoint() error {
	return h.log.Checkpoint(func(emit func([]byte) error) error {
		h.mu.RLock()
		state := encodeState(h.nextCut, h.floor, h.gone)
		h.mu.RUnlock()
		if err := emit(state); err != nil {
			return err
		}
		for _, g := range h.Gaps() {
			if err := emit(encodeGap(g)); err != nil {
				return err
			}
		}
		fault.Point("checkpoint.begun")
		return EmitAll(h.Snapshot().Invs, emit)
	})
}

// LogFloor raises the retention floor, the first day that is kept, and makes it
// durable, before anything is deleted.
func (h *Head) LogFloor(day task.Day) error { return h.logState(day, never) }

// LogDeleted makes durable that rows from before a day are deleted, before they
// are. The floor does not say that there were any.
func (h *Head) LogDeleted(before task.Day) error { return h.logState(never, before) }

// logState raises floor and gone, and logs them if that is news.
func (h *Head) logState(floor, gone task.Day) error {
	h.mu.Lock()
	h.floor, h.gone = max(h.floor, floor), max(h.gone, gone)
	if h.floor <= h.loggedFloor && h.gone <= h.loggedGone {
		h.mu.Unlock()
		return nil
	}
	floor, gone = h.floor, h.gone
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
	h.loggedFloor, h.loggedGone = max(h.loggedFloor, floor), max(h.loggedGone, gone)
	return nil
}

// Floor is the retention floor.
func (h *Head) Floor() task.Day {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.floor
}

// Deleted is the day before which rows have been deleted, if any have.
func (h *Head) Deleted() (before task.Day, some bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.gone, h.gone > never
}
