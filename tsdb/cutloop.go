package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"daybook/head"
	"daybook/tsdb/task"
)

const (
	// pressurePause keeps the cutter from spinning when what fills the head
	// cannot be cut yet.
	pressurePause = 50 * time.Millisecond
	// giveUpBatch is how many parked invocations are given up at once.
	giveUpBatch = 5000
	// reliefRows is at most how many invocations leave a head that fills at a time. On
	// two cores 10 000 are taken 15 % slower, in longer waits, and 32 768 6 %: a cut has
	// costs of its own, and those who wait for room wait for all of it.
	reliefRows = 20_000
)

// cutLoop cuts every cut interval, and when the head asks to hurry.
func (db *DB) cutLoop(ctx context.Context) {
	for db.fullness() > 0.5 && ctx.Err() == nil && db.cutRound(ctx) {
		db.room.wake() // what was replayed may fill it, and nobody makes room during a checkpoint
	}
	db.trimReplayed()
	tick := time.NewTicker(db.opts.CutInterval)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-db.pressure:
		}
		progress := db.cutRound(ctx)
		db.room.wake()
		if progress {
			continue
		}
		pause.Reset(pressurePause)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// cutRound cuts what is settled; the fuller the head, the more. It reports
// whether anything left the head.
func (db *DB) cutRound(ctx context.Context) bool {
	left := int64(0)
	note := func(n int64, err error) error {
		left += n
		return err
	}
	cut := func(all bool) error {
		res, err := db.compact.Cut(ctx, db.cuttable(), all, true)
		return note(res.Rows, err)
	}
	// Each step is tried whatever became of the others: one damaged file must
	// not keep the rest in memory, nor the log from being trimmed.
	errs := []error{db.settleGaps(), db.giveUpParked(ctx), cut(false)}
	if db.fullness() > 0.5 || db.wanted.Load() > 0 {
		errs = append(errs, note(db.relieve(ctx)))
	} else if db.walFull() {
		errs = append(errs, cut(true))
	}
	err := errors.Join(append(errs, db.tighten(ctx))...)
	if ctx.Err() == nil {
		db.tried(opCut, err)
	}
	if ctx.Err() == nil && db.fails(opMoves) {
		db.tried(opMoves, db.finishMoves(ctx))
	}
	return errors.Join(err, db.maybeCheckpoint()) == nil && left > 0
}

// countParked counts what was parked when the program began, for summaries. What
// cannot be read they will report.
func (db *DB) countParked(ctx context.Context) { _ = db.compact.Parked().Count(ctx) }

// fullness is how far the head is towards its nearer cap, 0 to 1.
func (db *DB) fullness() float64 {
	records, bytes := db.head.Size()
	return max(float64(records)/float64(db.opts.HeadMaxRecords), float64(bytes)/float64(db.opts.HeadMaxBytes))
}

// relief is how many invocations leave this head at a time when it fills: an eighth
// of the cap on records, or a sixth of that on bytes.
func (db *DB) relief() int {
	records, _ := db.head.Size()
	least := min(db.opts.HeadMaxRecords/8, reliefRows)
	if records > 0 {
		least = min(least, db.opts.HeadMaxBytes/6/max(1, db.head.Held()/records))
	}
	return int(max(1, least))
}

// relieve cuts a part of a head that is half full, the oldest first, settled or not.
// The cutter then works while the head fills, and those who wait for room wait for a
// part: with all of it in one go, from three quarters on, the two waited for each other
// (69 000/s, p99 890 ms; now 88 000/s and 104 ms). Rows that move are left to readers
// that hold them (compact.HoldMoves): the head is never less than half full then, and
// sums did not come to an end. When the half of a part is not there, or cannot be cut
// and room is needed, what is open is parked, or given up again (see park).
func (db *DB) relieve(ctx context.Context) (left int64, err error) {
	part := db.relief()
	if db.fullness() > 0.75 {
		// Each part waits for the disk twice. On one that stutters three times as much in a
		// part took a fifth more in, but on a quick one it doubled the p99 of requests.
		part *= 2
	}
	cut, ready, err := db.compact.CutOldest(ctx, db.cuttable(), part)
	left, errs := int64(cut), []error{err}
	half := (part + 1) / 2
	// All of it: for a request that waits until all of it fits, for the log, which is
	// trimmed then, and where the oldest wait, for a day that is being sealed or for
	// readers.
	full := db.fullness() > 0.75
	if db.wanted.Load() > 0 || db.walFull() || cut < half && full {
		res, err := db.compact.Cut(ctx, db.cuttable(), true, true)
		left, errs = left+res.Rows, append(errs, err)
	}
	if ready < half || cut < half && (full || err != nil) || db.wanted.Load() > 0 {
		parked, err := db.park(ctx, true)
		left, errs = left+int64(parked), append(errs, err)
	}
	db.stuck.Store(left == 0)
	return left, errors.Join(errs...)
}

// stuckReason says that the head is full of what cannot leave it; empty if it is not.
// Bodies that are being decoded do not count: they go by themselves.
func (db *DB) stuckReason() string {
	records, _ := db.head.Size()
	if !db.stuck.Load() || records < db.opts.HeadMaxRecords && db.head.Held() < db.opts.HeadMaxBytes/16*15 {
		return ""
	}
	s := db.head.Stats()
	return fmt.Sprintf("the head is full, and nothing in it could be cut or parked the last time: of %d invocations %d are open, and days hold %d rows of them, "+
		"which wait for a day that is being sealed, or for what else fails here; if it lasts, raise --head.max-records or --head.max-bytes", s.Records, s.Open, s.Stored)
}

// park parks idle open invocations until the head is half full, without the bodies
// that are being decoded, or has room for those who want more. When none is left to be
// parked, those that had been given up before their last event are given up again:
// after a worker's restart they can be all that the head holds, for as long as
// --head.open-timeout. It returns how many left.
func (db *DB) park(ctx context.Context, logged bool) (left int, err error) {
	crowded := func() bool {
		records, _ := db.head.Size()
		return records > db.opts.HeadMaxRecords/2 || db.head.Held() > db.opts.HeadMaxBytes/2 || db.wanted.Load() > 0
	}
	for crowded() && ctx.Err() == nil {
		n, err := db.compact.Park(ctx, db.cuttable(), db.relief(), logged)
		db.metrics.parked.Add(float64(n))
		if n == 0 && err == nil {
			regardless := !logged || db.wanted.Load() > 0 || db.fullness() > 0.75
			n, err = db.compact.CutReopened(ctx, db.cuttable(), db.relief(), regardless, logged)
		}
		left += n
		if err != nil || n == 0 {
			return left, err
		}
		db.room.wake()
	}
	return left, nil
}

// giveUpParked brings back parked invocations whose last event is older than
// the open timeout; the cut then gives them up. While it would not, they stay.
func (db *DB) giveUpParked(ctx context.Context) error {
	parked := db.compact.Parked()
	if parked.Rows() == 0 || db.fullness() > 0.75 || !db.compact.Steady() {
		return nil
	}
	old, err := parked.Older(ctx, db.now()-db.opts.OpenTimeout.Microseconds(), giveUpBatch)
	if err != nil {
		return err
	}
	// What was brought back before waits in the head to be cut. Appended again it
	// would have to settle again, and would never be.
	old = slices.DeleteFunc(old, func(v task.Invocation) bool { return db.head.Get(v.TaskID) != nil })
	if len(old) == 0 {
		return nil
	}
	_, err = db.bringBack(ctx, old) // this is the cutter, which nobody makes room for
	return err
}

// bringBack puts stored invocations into the head, to be cut again: the first n
// of them, as many as fit.
func (db *DB) bringBack(ctx context.Context, old []task.Invocation) (n int, err error) {
	invs := make([]*task.Invocation, len(old))
	for i := range old {
		invs[i] = &old[i]
	}
	records := head.Encode(invs)
	defer records.GiveBack()
	passed := db.appendGate.pass()
	bases, gen, err := db.resolve(ctx, invs)
	if err != nil {
		passed()
		return 0, err
	}
	a := db.head.Append(invs, records, bases, gen, false)
	passed()
	if a.N == 0 {
		return 0, nil
	}
	return a.N, db.head.Wait(a.Ticket)
}

// finishMoves brings back what is in two days: the directory is a copy that was
// made in the middle of a cut, and the log that was copied before does not know
// of it. In any other directory it does, and the head has it already.
func (db *DB) finishMoves(ctx context.Context) error {
	view := db.catalog.View()
	rows, err := view.LeftBehind(ctx)
	if err == nil {
		_, err = view.Passing(nil) // what could not be read for the moment may be in two days, too
	}
	view.Release()
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(v task.Invocation) bool { return db.head.Get(v.TaskID) != nil })
	for full := false; len(rows) > 0; {
		n, err := db.bringBack(ctx, rows[:min(len(rows), giveUpBatch)])
		if err != nil {
			return err
		}
		if n == 0 && full {
			return errors.New("there is no room in the head: raise --head.max-records or --head.max-bytes")
		}
		rows, full = rows[n:], n == 0
		if full {
			if _, err := db.compact.Cut(ctx, db.cuttable(), true, true); err != nil {
				return err
			}
		}
	}
	return nil
}
