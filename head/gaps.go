package head

import (
	"slices"
	"time"

	"daybook/tsdb/task"
)

const (
	// maxGaps bounds the gaps that are held because no file can take them:
	// beyond it neighbours are taken together.
	maxGaps = 10_000
	// gapQuiet is how long a gap must not have grown to be taken as ended.
	// What goes on is told again every half minute.
	gapQuiet = time.Minute
	// dropStretch bounds one gap of records that the overflow policy dropped.
	dropStretch = time.Hour
)

// AddGap records that something is missing. Told again with a later end, it
// grows.
func (h *Head) AddGap(g task.Gap) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log.Enqueue(h.gap(g))
	h.gapsLogged = false
}

// SyncGaps makes the gaps told so far durable. Nobody waits for AddGap, and on
// a quiet day nobody else would write the log.
func (h *Head) SyncGaps() error {
	h.mu.Lock()
	logged := h.gapsLogged
	h.gapsLogged = true
	h.mu.Unlock()
	if logged {
		return nil
	}
	err := h.log.Sync()
	if err != nil {
		h.mu.Lock()
		h.gapsLogged = false
		h.mu.Unlock()
	}
	return err
}

// gap merges g into the known ones and returns its record. The caller holds mu.
func (h *Head) gap(g task.Gap) []byte {
	g = h.gaps.Add(g)
	if h.gaps.Len() > maxGaps {
		folded := task.FoldGaps(h.gaps.Sorted(), maxGaps/2)
		h.gaps = task.GapSet{}
		for _, f := range folded {
			h.gaps.Add(f)
		}
	}
	return encodeGap(g)
}

// dropGap is the gap that a drop of n belongs to: one for as long as they
// follow each other. The caller holds mu.
func (h *Head) dropGap(oldest, now, n int64) task.Gap {
	d := &h.drops
	if d.Count == 0 || oldest < d.From || now-d.To > gapQuiet.Microseconds() || now-h.dropsSince > dropStretch.Microseconds() {
		*d, h.dropsSince = task.Gap{Source: "head", Cause: "dropped", From: oldest}, now
	}
	d.To, d.Count = max(d.To, now), d.Count+n
	return *d
}

// Gaps returns what is known to be missing and is in no file yet, oldest
// first. What is below the retention floor has gone.
func (h *Head) Gaps() []task.Gap {
	h.mu.RLock()
	defer h.mu.RUnlock()
	floor := h.believed()
	return slices.DeleteFunc(h.gaps.Sorted(), func(g task.Gap) bool { return g.Day() < floor })
}

// EndedGaps returns those gaps that are to be stored in the files of the days
// in which they end: those that no longer grow, or all of them. Those below
// the floor are forgotten.
func (h *Head) EndedGaps(all bool) []task.Gap {
	ended := h.opts.Now().Add(-gapQuiet).UnixMicro()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gaps.Len() == 0 {
		return nil
	}
	var out []task.Gap
	floor := h.believed()
	for _, g := range h.gaps.Sorted() {
		switch {
		case g.Day() < floor:
			h.gaps.Remove(g)
		case all || g.To <= ended:
			out = append(out, g)
		}
	}
	return out
}

// GapsStored forgets gaps that are in a file now, unless they have grown since
// EndedGaps returned them. Their log records may come back in a replay; what
// a file says as well is not stored again.
func (h *Head) GapsStored(gaps []task.Gap) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range gaps {
		h.gaps.Remove(g)
	}
}
