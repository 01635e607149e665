package compact

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// cutRows bounds one transaction.
const cutRows = 1 << 16

// CutResult says what a cut wrote.
type CutResult struct {
	Rows    int64
	Days    []task.Day // ascending
	Waiting int64      // rows that were left, as a day that has or had one of them is being sealed
}

// Cut writes what is ready into its days. all takes the unsettled too. logged
// is false only while the head replays its log. Days being sealed are left for
// the next time.
func (c *Compactor) Cut(ctx context.Context, h Head, all, logged bool) (CutResult, error) {
	c.act.Lock()
	defer c.act.Unlock()
	var res CutResult
	var gaps error // which keeps no row from being cut
	if logged {
		gaps = c.cutGaps(ctx, h, all)
	}
	for ctx.Err() == nil {
		rows := h.Ready(all, cutRows)
		n, days, err := c.cutRows(ctx, h, rows, all || !logged || c.opts.Pressed(), logged)
		res.Rows += n
		for _, d := range days {
			if !slices.Contains(res.Days, d) {
				res.Days = append(res.Days, d)
			}
		}
		// Fewer than asked for were all. What has come since is for the next
		// cut: under steady ingest there is always more, and act is held.
		if err != nil || n == 0 || len(rows) < cutRows {
			slices.Sort(res.Days)
			res.Waiting = c.waiting.Load()
			return res, errors.Join(gaps, err)
		}
	}
	slices.Sort(res.Days)
	return res, errors.Join(gaps, ctx.Err())
}

// CutOldest writes the longest untouched of what is ready into their days, settled or
// not, at most limit, and returns how many, and how many of these were ready. What waits
// for a day that is being sealed, or for readers (HoldMoves), stands before the rest.
func (c *Compactor) CutOldest(ctx context.Context, h Head, limit int) (cut, ready int, err error) {
	c.act.Lock()
	defer c.act.Unlock()
	rows := h.Ready(true, limit)
	n, _, err := c.cutRows(ctx, h, rows, false, true)
	return int(n), len(rows), err
}

// CutReopened writes up to limit open invocations that a day holds a row of into a
// day, given up again, and returns how many. They cannot be parked, and would stay in
// the head until they end or the open timeout is over. When all of those wait for a
// day that is being sealed, others are tried.
func (c *Compactor) CutReopened(ctx context.Context, h Head, limit int, regardless, logged bool) (int, error) {
	c.act.Lock()
	defer c.act.Unlock()
	rows := h.Reopened(limit)
	n, _, err := c.cutRows(ctx, h, rows, regardless, logged)
	if n == 0 && err == nil && len(rows) == limit {
		n, _, err = c.cutRows(ctx, h, h.Reopened(max(limit, cutRows)), regardless, logged)
	}
	return int(n), err
}

// cutRows cuts one batch, day by day, and returns how many rows left the head. Those
// that move wait for readers unless regardless is set.
func (c *Compactor) cutRows(ctx context.Context, h Head, rows []Row, regardless, logged bool) (int64, []task.Day, error) {
	waiting := 0
	if slices.ContainsFunc(rows, Row.moves) {
		if c.moves.begin(regardless) {
			defer c.moves.end()
		} else {
			rows = slices.DeleteFunc(slices.Clone(rows), Row.moves)
		}
	}
	rows, where, kept := c.whereStored(ctx, rows)
	byDay := map[task.Day][]Row{}
	for _, r := range rows {
		d := r.Inv.Day()
		if c.mayCut(d, where[r.Inv.TaskID].Where) {
			byDay[d] = append(byDay[d], r)
		} else {
			waiting++
		}
	}
	c.waiting.Store(int64(waiting))
	days := make([]task.Day, 0, len(byDay))
	for d := range byDay {
		days = append(days, d)
	}
	slices.Sort(days)
	var n int64
	errs := []error{kept}
	var done []task.Day
	for _, d := range days {
		k, err := c.cutDay(ctx, h, d, byDay[d], where, logged)
		n += k
		if err != nil {
			errs = append(errs, fmt.Errorf("cutting %d rows into %s: %w", len(byDay[d]), d, err))
			continue
		}
		if k > 0 {
			done = append(done, d)
		}
	}
	return n, done, errors.Join(errs...)
}

// moves reports whether cutting the row may change one that is stored or parked.
func (r Row) moves() bool { return r.Based || r.Parked }

// mayCut reports whether none of the days concerned is being sealed.
func (c *Compactor) mayCut(d task.Day, also []task.Day) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	busy := func(d task.Day) bool { x := c.days[d]; return x != nil && x.sealing }
	return !busy(d) && !slices.ContainsFunc(also, busy)
}

// whereStored finds the days that hold a row of those invocations that may
// have one. It returns the rows that can be cut; the error is about the others.
func (c *Compactor) whereStored(ctx context.Context, rows []Row) ([]Row, map[string]blocks.Stored, error) {
	var ids []string
	for _, r := range rows {
		if r.Based {
			ids = append(ids, r.Inv.TaskID)
		}
	}
	if len(ids) == 0 {
		return rows, nil, nil
	}
	view := c.opts.Catalog.View()
	defer view.Release()
	// Beside 16 requests for rows of a day of 7 million a cut took five minutes
	// when it waited for each of its ids in line with theirs.
	stored, err := view.LookupForCut(ctx, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("finding the stored rows of %d invocations: %w", len(ids), err)
	}
	unknown, err := view.Passing(ids)
	if err == nil {
		return rows, stored, nil
	}
	// A row that is overlooked would stay beside the new one.
	sure := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Based && unknown[r.Inv.TaskID] })
	return sure, stored, fmt.Errorf("keeping back %d rows that a file may hold already: %w", len(rows)-len(sure), err)
}

// cutDay is one cut: log record, transaction, then the rows of the same ids in
// other days and in the parked file, then out of the head. The caller holds
// act.
func (c *Compactor) cutDay(ctx context.Context, h Head, d task.Day, rows []Row, where map[string]blocks.Stored, logged bool) (n int64, err error) {
	if d < h.Floor() {
		return c.cutExpiredDay(ctx, h, d, rows, where, logged)
	}
	began := time.Now()
	live, err := c.live(d)
	if err != nil {
		return 0, err
	}
	cut := h.BeginCut(d, rows, logged)
	end := NotStored
	defer func() { h.FinishCut(cut, end) }()
	if len(cut.Rows) == 0 {
		return 0, nil
	}
	batch, leave, parked := c.batch(d, cut, where)
	if logged {
		if err := h.SyncCut(cut); err != nil {
			return 0, fmt.Errorf("logging the cut: %w", err)
		}
	}
	fault.Point("cut.logged")
	if len(where) > 0 || len(parked) > 0 {
		// A query that began before these ids were in the head may meet a row
		// at its old and its new place, or at neither: it sees the number
		// change, and begins again. A later one finds them in the head.
		c.opts.Catalog.NoteMove()
	}
	if err := live.Apply(ctx, batch); err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.days[d].lastCut = c.opts.Now()
	c.mu.Unlock()
	end = Unfinished
	fault.Point("cut.stored")
	if c.opts.Step != nil {
		if err := c.opts.Step("leave"); err != nil {
			return 0, err
		}
	}
	if err := c.leaveOld(context.WithoutCancel(ctx), cut.ID, leave, parked); err != nil {
		return 0, err // still in the head, which hides the old rows; the next cut does it again
	}
	end = Stored
	fault.Point("cut.left")
	c.opts.Observer.Cut(int64(len(cut.Rows)), time.Since(began))
	level.Debug(c.logger).Log("msg", "cut", "day", d, "rows", len(cut.Rows), "cut", cut.ID)
	return int64(len(cut.Rows)), nil
}

// cutExpiredDay lets rows go whose day has expired, without storing them. What a
// day that is kept or the parked file has of them is superseded, and goes first:
// the record of the cut makes a replay forget them.
func (c *Compactor) cutExpiredDay(ctx context.Context, h Head, d task.Day, rows []Row, where map[string]blocks.Stored, logged bool) (int64, error) {
	kept := func(day task.Day) bool { return day >= h.Floor() }
	also := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool {
		return !r.Parked && !slices.ContainsFunc(where[r.Inv.TaskID].Where, kept)
	})
	if len(also) > 0 {
		if logged { // the log may have nothing but what came after the row that has expired
			if err := h.Checkpoint(); err != nil {
				level.Warn(c.logger).Log("msg", "no checkpoint before older rows of expired ones are deleted", "day", d, "err", err)
			}
		}
		// Of those that have changed by now nothing may be deleted.
		cut := h.BeginCut(d, also, false)
		leave, parked := map[task.Day]blocks.Batch{}, []string(nil)
		for _, r := range cut.Rows {
			if r.Parked {
				parked = append(parked, r.Inv.TaskID)
			}
			at := where[r.Inv.TaskID]
			for i, other := range at.Where {
				if kept(other) {
					b := leave[other]
					b.Delete = append(b.Delete, r.Inv.TaskID)
					mask(&b, &at.Rows[i])
					leave[other] = b
				}
			}
		}
		c.opts.Catalog.NoteMove()
		if err := c.leaveOld(context.WithoutCancel(ctx), cut.ID, leave, parked); err != nil {
			h.FinishCut(cut, NotStored)
			return 0, err // the next cut does it again
		}
		h.FinishCut(cut, Unstored)
	}
	cut := h.BeginCut(d, rows, logged)
	if logged {
		// On a full disk they go all the same, and come back with a crash.
		if err := h.SyncCut(cut); err != nil {
			level.Warn(c.logger).Log("msg", "that rows have expired is not in the log", "day", d, "rows", len(cut.Rows), "err", err)
		}
	}
	h.FinishCut(cut, Expired)
	return int64(len(cut.Rows)), nil
}

// batch works out what a cut changes: in its own day, in the other days that
// hold a row of its ids, in the parked file.
func (c *Compactor) batch(d task.Day, cut Cut, where map[string]blocks.Stored) (b blocks.Batch, leave map[task.Day]blocks.Batch, parked []string) {
	c.mu.Lock()
	overlay := c.days[d].sealed != nil
	c.mu.Unlock()
	b = blocks.Batch{Cut: cut.ID, Put: make([]blocks.Put, 0, len(cut.Rows))}
	leave = map[task.Day]blocks.Batch{}
	for _, r := range cut.Rows {
		id := r.Inv.TaskID
		put := blocks.Put{Inv: r.Inv}
		for i, at := range where[id].Where {
			row := &where[id].Rows[i]
			if at == d {
				put.Replace = true
				if overlay {
					mask(&b, row)
				}
				continue
			}
			b.Moved = append(b.Moved, blocks.Moved{ID: id, From: at})
			other := leave[at]
			other.Delete = append(other.Delete, id)
			mask(&other, row)
			leave[at] = other
		}
		b.Put = append(b.Put, put)
		if r.Parked {
			parked = append(parked, id)
			b.Moved = append(b.Moved, blocks.Moved{ID: id, From: blocks.FromParked})
		}
	}
	return b, leave, parked
}

// mask adds the row of an id that is hidden in the sealed file of a day.
func mask(b *blocks.Batch, row *task.Invocation) {
	if b.Masked == nil {
		b.Masked = map[string]*task.Invocation{}
	}
	b.Mask = append(b.Mask, row.TaskID)
	b.Masked[row.TaskID] = row
}

// leaveOld deletes superseded rows, after the winner is stored.
func (c *Compactor) leaveOld(ctx context.Context, cut uint64, leave map[task.Day]blocks.Batch, parked []string) error {
	if len(leave) == 0 && len(parked) == 0 {
		return nil
	}
	for d, b := range leave {
		live, err := c.live(d)
		if err != nil {
			return err
		}
		c.mu.Lock()
		x := c.days[d]
		x.lastCut = c.opts.Now()
		b.Cut = cut
		if x.sealed == nil {
			b.Mask, b.Masked = nil, nil
		}
		c.mu.Unlock()
		if err := live.Apply(ctx, b); err != nil {
			return fmt.Errorf("deleting %d superseded rows of %s: %w", len(b.Delete), d, err)
		}
		fault.Point("cut.superseded")
	}
	if len(parked) > 0 {
		if err := c.parked.Delete(ctx, parked); err != nil {
			return fmt.Errorf("deleting %d parked invocations: %w", len(parked), err)
		}
	}
	return nil
}

// Park moves up to n open invocations, the longest without an event, to the
// parked file.
func (c *Compactor) Park(ctx context.Context, h Head, n int, logged bool) (int, error) {
	c.act.Lock()
	defer c.act.Unlock()
	cut := h.BeginCut(Parked, h.Idle(n), logged)
	end := NotStored
	defer func() { h.FinishCut(cut, end) }()
	if len(cut.Rows) == 0 {
		return 0, nil
	}
	// A query that has them in its snapshot may meet them again, changed.
	c.opts.Catalog.NoteMove()
	if logged {
		if err := h.SyncCut(cut); err != nil {
			return 0, fmt.Errorf("logging what is parked: %w", err)
		}
	}
	fault.Point("park.logged")
	invs := make([]*task.Invocation, len(cut.Rows))
	for i, r := range cut.Rows {
		invs[i] = r.Inv
	}
	if err := c.parked.Put(ctx, cut.ID, invs); err != nil {
		return 0, fmt.Errorf("parking %d open invocations: %w", len(invs), err)
	}
	end = Stored
	fault.Point("park.stored")
	level.Debug(c.logger).Log("msg", "parked open invocations", "rows", len(invs))
	return len(invs), nil
}
