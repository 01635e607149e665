package tsdb

import (
	"context"
	"errors"
	"time"

	"daybook/compact"
	"daybook/head"
	"daybook/tsdb/task"
)

// cuttable shows a Head to package compact, which does not import it.
type cuttable struct {
	h    *head.Head
	thin *thinner
	// before is called before a cut is made durable.
	before     func()
	checkpoint func() error // and notes what came of it
	settle     func(context.Context) error
}

// cuttable is how compact sees the head.
func (db *DB) cuttable() cuttable {
	return cuttable{db.head, &db.thin, db.saveShared, db.checkpoint, db.appendGate.drain}
}

func rowsOf(cs []head.Candidate) []compact.Row {
	rows := make([]compact.Row, len(cs))
	for i := range cs {
		rows[i] = compact.Row{Inv: cs[i].Inv, Based: cs[i].Based, Parked: cs[i].Parked, Entry: &cs[i]}
	}
	return rows
}

func (c cuttable) Ready(all bool, limit int) []compact.Row { return rowsOf(c.h.Ready(all, limit)) }
func (c cuttable) Idle(limit int) []compact.Row            { return rowsOf(c.h.Idle(limit)) }
func (c cuttable) Reopened(limit int) []compact.Row        { return rowsOf(c.h.Reopened(limit)) }
func (c cuttable) LogFloor(d task.Day) error               { return c.h.LogFloor(d) }
func (c cuttable) LogDeleted(d task.Day) error             { return c.h.LogDeleted(d) }

// settleWait is more than a request waits for room and for the log.
const settleWait = 15 * time.Second

// Settle waits for the requests that are under way.
func (c cuttable) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	return c.settle(ctx)
}

func (c cuttable) Checkpoint() error             { return c.checkpoint() }
func (c cuttable) EndedGaps(all bool) []task.Gap { return c.h.EndedGaps(all) }
func (c cuttable) GapsStored(gaps []task.Gap)    { c.h.GapsStored(gaps) }
func (c cuttable) Floor() task.Day               { return c.h.Floor() }
func (c cuttable) WrongFloor() (task.Day, bool)  { return c.h.WrongFloor() }

func (c cuttable) BeginCut(d task.Day, rows []compact.Row, logged bool) compact.Cut {
	cs := make([]head.Candidate, 0, len(rows))
	for _, r := range rows {
		if x, ok := r.Entry.(*head.Candidate); ok {
			cs = append(cs, *x)
		}
	}
	cut := c.h.BeginCut(d, cs, logged)
	out := compact.Cut{ID: cut.ID, Rows: rowsOf(cut.Candidates), Entry: cut}
	if d != compact.Parked {
		for i := range out.Rows {
			out.Rows[i].Inv = c.thin.thin(out.Rows[i].Inv)
		}
	}
	return out
}

func (c cuttable) SyncCut(cut compact.Cut) error {
	x, ok := cut.Entry.(*head.Cut)
	if !ok {
		return errors.New("not a cut of this head")
	}
	c.before()
	return c.h.SyncCut(x)
}

func (c cuttable) FinishCut(cut compact.Cut, end compact.Outcome) {
	if x, ok := cut.Entry.(*head.Cut); ok {
		c.h.FinishCut(x, outcomeOf(end))
	}
}

// outcomeOf is what an end means to the head. Of one that it does not know the
// entries stay, as if nothing had been stored: that loses nothing.
func outcomeOf(end compact.Outcome) head.Outcome {
	switch end {
	case compact.Stored:
		return head.Stored
	case compact.Unfinished:
		return head.Unfinished
	case compact.Unstored:
		return head.Unstored
	case compact.Expired:
		return head.Expired
	}
	return head.NotStored
}

// handedOver shows the legacy files to package compact, which lets them go by size.
type handedOver struct{ db *DB }

func (l handedOver) HandedOver() []compact.LegacyFile      { return l.db.handedOver() }
func (l handedOver) DeleteLegacy(path, cause string) error { return l.db.deleteHandedOver(path, cause) }
func (l handedOver) DeleteLeft() error                     { return l.db.deleteLeft() }
