package head

import (
	"context"
	"errors"
	"fmt"

	"daybook/head/wal"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// Replaying is what a replay needs from the side of the files.
type Replaying struct {
	// Known reports whether the files of a day know a cut, so that its rows
	// are stored. A day below the retention floor counts as known.
	Known func(cut uint64, day task.Day) bool
	// Relieve cuts or parks until the head is well under its caps. It is
	// called between two records.
	Relieve func(ctx context.Context) error
	// Progress is told bytes done and in total, now and then.
	Progress func(done, total int64)
}

// Replayed says what a replay found.
type Replayed struct {
	Log     wal.ReplayStats
	Records int64 // also those that could not be understood, whose frames are among Log.Corruptions
}

// Replay rebuilds the head from its log. Nothing else may use the head
// meanwhile. Afterwards every entry is unresolved: see Unresolved and Resolve.
func (h *Head) Replay(ctx context.Context, r Replaying) (Replayed, error) {
	var out Replayed
	var u unpacker
	stats, err := h.log.Replay(ctx, func(b []byte) error {
		return u.understood(b, func(rec *record) error {
			out.Records++
			return h.replayRecord(ctx, rec, r)
		}, func() { out.Records++ })
	}, r.Progress)
	out.Log = stats
	if err != nil {
		return out, fmt.Errorf("replaying the log: %w", err)
	}
	return out, nil
}

func (h *Head) replayRecord(ctx context.Context, rec *record, r Replaying) error {
	fault.Point("replay.record")
	switch rec.kind {
	case kindEvent:
		return h.replayEvent(ctx, &rec.inv, r)
	case kindCut:
		h.CutSeen(rec.cut)
		if r.Known(rec.cut, rec.day) {
			h.forget(rec.ids)
		}
	case kindDrop:
		h.forget(rec.ids)
	case kindGap:
		h.mu.Lock()
		h.gap(rec.gap)
		h.mu.Unlock()
	case kindState:
		h.CutSeen(rec.cut - 1)
		h.mu.Lock()
		h.floor, h.gone = rec.day, max(h.gone, rec.gone) // the last floor: one may have been taken back
		h.mu.Unlock()
	}
	return nil
}

func (h *Head) replayEvent(ctx context.Context, v *task.Invocation, r Replaying) error {
	h.mu.Lock()
	e := h.byID[v.TaskID]
	fits := h.fits(e == nil, v.Size(), false)
	h.mu.Unlock()
	if !fits {
		if err := r.Relieve(ctx); err != nil {
			return fmt.Errorf("making room during replay: %w", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e = h.byID[v.TaskID]
	if !h.fits(e == nil, v.Size(), false) {
		return errors.New("no room in the head during replay: raise --head.max-records or --head.max-bytes")
	}
	h.apply(e, v, Base{}, h.opts.Now().UnixMicro())
	if e == nil {
		h.byID[v.TaskID].unresolved = true
	}
	return nil
}

// forget removes ids; cut or dropped, they are no longer the head's.
func (h *Head) forget(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if e := h.byID[id]; e != nil {
			h.remove(e)
		}
	}
}

// Unresolved returns up to limit ids of which is not known whether a row is stored,
// and where to go on, below that place: what Resolve removes makes room for entries
// from above it only.
func (h *Head) Unresolved(limit, below int) (ids []string, next int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	next = min(below, len(h.slots))
	for ; next > 0 && len(ids) < limit; next-- {
		if e := h.slots[next-1]; e.unresolved {
			ids = append(ids, e.inv.TaskID)
		}
	}
	return ids, next
}

// Resolve gives an unresolved entry its base. covered says that the one stored
// row is where it belongs; if it also says everything that the entry says, the
// entry goes.
func (h *Head) Resolve(id string, b Base, covered bool) {
	now := h.opts.Now().UnixMicro()
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.byID[id]
	if e == nil || !e.unresolved {
		return
	}
	e.unresolved = false
	h.setParked(e, b.Parked)
	h.setRows(e, b.Rows)
	if b.Inv == nil {
		return
	}
	m := task.Merge(reopened(b.Inv, e.inv, now), *e.inv)
	if covered && same(&m, b.Inv) {
		h.remove(e)
		return
	}
	touched := e.touched
	h.set(e, &m, touched)
}
