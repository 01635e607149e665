package head

import "daybook/tsdb/fault"

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
		snap := h.Snapshot()
		return EmitAll(snap.Slice(), emit)
	})
}
