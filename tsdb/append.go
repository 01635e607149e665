package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"daybook/head"
	"daybook/tsdb/task"
)

// OverflowWait is how long an Append that does not fit waits for the cutter
// before the overflow policy acts.
const OverflowWait = 2 * time.Second

// Reserve counts the bytes of a body that is being decoded against the head's
// cap, and waits for them to fit as long as patience says, at most OverflowWait;
// with OverflowDropOldest the oldest are then dropped. It returns ErrOverloaded
// if there is no room for them; otherwise call release.
func (db *DB) Reserve(bytes int64, patience time.Duration) (release func(), err error) {
	if db.readOnly {
		return nil, ErrReadOnly
	}
	if err := db.usable(); err != nil {
		return nil, err
	}
	release = func() { db.head.ReleaseBytes(bytes) }
	fits := func() bool { return db.head.ReserveBytes(bytes) }
	// Where other bodies take up the room, dropping records would not help.
	beside := func() bool {
		held := db.head.Held()
		_, all := db.head.Size()
		return held+bytes <= db.opts.HeadMaxBytes || all-held+bytes > db.opts.HeadMaxBytes/2
	}
	for !fits() {
		if ok, err := db.waitAtMost(context.Background(), min(patience, OverflowWait), fits); ok || err != nil {
			return release, err
		}
		if err := db.usable(); err != nil {
			return nil, err
		}
		var dropped []string
		if db.opts.OnOverflow != OverflowReject {
			dropped, _ = db.dropOldest(beside)
		}
		if len(dropped) == 0 { // by this one; another may have
			if fits() {
				break
			}
			return nil, db.Refuse()
		}
	}
	return release, nil
}

// waitFor hurries the cutter until there is room, at most OverflowWait long.
func (db *DB) waitFor(ctx context.Context, room func() bool) (bool, error) {
	return db.waitAtMost(ctx, OverflowWait, room)
}

func (db *DB) waitAtMost(ctx context.Context, long time.Duration, room func() bool) (bool, error) {
	deadline := time.NewTimer(long)
	defer deadline.Stop()
	for {
		round := db.room.wait()
		if room() {
			return true, nil
		}
		db.hurry()
		select {
		case <-round:
		case <-deadline.C:
			return false, nil
		case <-ctx.Done():
			return false, fmt.Errorf("%w: %w", errNoRoom, ctx.Err())
		}
	}
}

// dropOldest makes room by force, unless there is room by now: of many who wait
// for it, one drops. full says that there is none and nothing could be dropped.
func (db *DB) dropOldest(room func() bool) (dropped []string, full bool) {
	db.dropping.Lock()
	defer db.dropping.Unlock()
	if room() {
		return nil, false
	}
	dropped = db.head.DropOldest()
	db.noteDropped(reasonOverflow, int64(len(dropped)))
	db.room.wake()
	return dropped, len(dropped) == 0
}

// hasRoom reports whether more records fit, with some to spare.
func (db *DB) hasRoom() bool {
	records, bytes := db.head.Size()
	return records < db.opts.HeadMaxRecords && bytes < db.opts.HeadMaxBytes/16*15
}

// Append stores records. When it returns nil, every record that is not listed
// in Appended is logged (fsynced, by the default policy). ErrNotReady,
// ErrReadOnly, ErrClosed, ErrTooLarge and ErrDiskFull mean that nothing was
// stored, as does ErrOverloaded unless ctx has ended; another error (ErrStalled,
// those of the log), that some may be.
func (db *DB) Append(ctx context.Context, recs []Record) (Appended, error) {
	if db.readOnly {
		return Appended{}, ErrReadOnly
	}
	db.running.Add(1) // before usable: Close marks the DB closed, then waits
	defer db.running.Done()
	if err := db.usable(); err != nil {
		return Appended{}, err
	}
	db.appending.Add(1)
	defer db.appending.Add(-1)
	var out Appended
	invs, err := db.admit(ctx, recs, &out)
	if err != nil || len(invs) == 0 {
		return out, db.late(ctx, err, len(recs))
	}
	turn := db.courtesy.Turn()
	defer turn.Rest()
	turn.Take()
	records := head.Encode(invs)
	turn.Rest()
	defer records.GiveBack()
	out, err = db.take(ctx, invs, records, out)
	return out, db.late(ctx, err, records.Len())
}

// errNoRoom is why a request's time ran out.
var errNoRoom = errors.New("no room in the head")

// late says what an error means for which the time ran out: the head was full,
// or the disk did not answer. Either is a gap, and a reason to try again later.
func (db *DB) late(ctx context.Context, err error, records int) error {
	if err == nil || ctx.Err() == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	stalled := db.wal.Stalled()
	if stalled < db.opts.stallAfter && errors.Is(err, errNoRoom) {
		return db.Refuse()
	}
	return db.refuseStalled(int64(records), stalled)
}

// Refuse notes a request that was refused because it waited in vain for others
// to be stored, and returns ErrOverloaded.
func (db *DB) Refuse() error {
	db.noteLoss(lossHeadFull, 0)
	return ErrOverloaded
}

// take stores invocations when there is room for them.
func (db *DB) take(ctx context.Context, invs []*task.Invocation, records *head.Records, out Appended) (Appended, error) {
	if err := db.heed(ctx, records.Len()); err != nil {
		return Appended{}, err
	}
	if err := db.shed(ctx, records); err != nil {
		return Appended{}, err
	}
	promised := false
	if db.opts.OnOverflow == OverflowReject {
		giveBack, err := db.promise(ctx, invs)
		if err != nil {
			return Appended{}, err
		}
		defer giveBack()
		promised = true
	}
	if err := db.apply(ctx, invs, records, promised, &out); err != nil {
		return out, err
	}
	return out, nil
}

// admit checks the records' times and completes those without any.
func (db *DB) admit(ctx context.Context, recs []Record, out *Appended) ([]*task.Invocation, error) {
	now, floor := db.now(), db.floor()
	ahead := now + db.opts.MaxFuture.Microseconds()
	invs := make([]*task.Invocation, 0, len(recs))
	var old, far int64
	latest := db.latestIn(recs)
	for i := range recs {
		v := &recs[i].Invocation
		err, reason := error(nil), reasonNoTime
		if recs[i].NoTime {
			var at int64
			if at, err = db.knownTime(ctx, v.TaskID, latest); err == nil {
				v.WithTime(at)
			} else if !errors.Is(err, task.ErrNoTime) {
				return nil, err
			}
		}
		switch {
		case err != nil:
		case v.RowTime() < floor:
			reason = reasonPast
			old++
			err = fmt.Errorf("its time, %s, is before what is kept, from %s", stamp(v.RowTime()), stamp(floor))
		case v.UpdatedAt > ahead:
			reason = reasonFuture
			far++
			err = fmt.Errorf("its time, %s, is ahead of the clock by more than %s (--ingest.max-future)", stamp(v.UpdatedAt), db.opts.MaxFuture)
		}
		if err != nil {
			db.metrics.refused.WithLabelValues(reason).Inc()
			out.Refused = append(out.Refused, Refusal{Index: i, Err: err})
			continue
		}
		invs = append(invs, v)
	}
	db.rejected.Add(int64(len(out.Refused)))
	if old > 0 {
		db.noteLoss(lossTooOld, old)
	}
	if far > 0 {
		db.noteLoss(lossTooFar, far)
	}
	return invs, nil
}

// latestIn is the newest time that each of the records' ids has among them;
// nil if no record needs it.
func (db *DB) latestIn(recs []Record) map[string]int64 {
	if !slices.ContainsFunc(recs, func(r Record) bool { return r.NoTime }) {
		return nil
	}
	latest := map[string]int64{}
	for i := range recs {
		latest[recs[i].TaskID] = max(latest[recs[i].TaskID], recs[i].UpdatedAt)
	}
	return latest
}

// knownTime is the time of the newest event of an id, stored or in the same
// request; task.ErrNoTime if it is not known.
func (db *DB) knownTime(ctx context.Context, id string, latest map[string]int64) (int64, error) {
	known, _, err := db.get(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	if at := max(known.UpdatedAt, latest[id]); at != 0 {
		return at, nil
	}
	return 0, task.ErrNoTime
}

// stamp prints microseconds for messages.
func stamp(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }

// apply merges the invocations into the head, resolving ids that are new to it
// and making room when it is full, and waits for the log.
func (db *DB) apply(ctx context.Context, invs []*task.Invocation, records *head.Records, promised bool, out *Appended) error {
	var last head.Applied // that was logged
	known, whole := 0, invs
	defer db.appendGate.pass()()
	turn := db.courtesy.Turn()
	turn.Take()
	defer turn.Rest()
	bases, gen, err := db.resolve(ctx, invs)
	if err != nil {
		return err
	}
	for len(invs) > 0 {
		a := db.head.Append(invs, records, bases, gen, promised)
		if a.Known < a.N {
			last = a
		}
		known += a.Known
		invs = invs[a.N:]
		switch {
		case a.Unresolved:
			bases, gen, err = db.resolve(ctx, invs)
		case a.Full:
			var dropped []string
			var full bool
			turn.Rest()
			dropped, full, err = db.makeRoom(ctx)
			turn.Take()
			out.Dropped += countIn(dropped, whole[:len(whole)-len(invs)])
			if full { // everything is being cut, and the disk stands still
				out.Dropped += len(invs)
				db.noteDropped(reasonStalled, int64(len(invs)))
				db.noteLoss(lossStalled, int64(len(invs)))
				invs = nil
			}
		}
		if err != nil {
			return err
		}
	}
	if records, bytes := db.head.Size(); records >= db.opts.HeadMaxRecords/2 || bytes >= db.opts.HeadMaxBytes/2 || db.walFull() {
		db.hurry()
	}
	turn.Rest()
	if err := db.waitLog(ctx, last.Ticket, len(whole)); err != nil {
		return err
	}
	db.metrics.appended.Add(float64(len(whole)))
	db.metrics.known.Add(float64(known))
	return nil
}

// countIn counts those of a request's lines that were dropped after they were
// applied.
func countIn(dropped []string, applied []*task.Invocation) int {
	gone := make(map[string]bool, len(dropped))
	for _, id := range dropped {
		gone[id] = true
	}
	n := 0
	for _, v := range applied {
		if gone[v.TaskID] {
			n++
		}
	}
	return n
}

// resolve finds what is stored of those invocations that are new to the head.
func (db *DB) resolve(ctx context.Context, invs []*task.Invocation) (map[string]head.Base, uint64, error) {
	ids := make([]string, len(invs))
	for i, v := range invs {
		ids[i] = v.TaskID
	}
	missing, gen := db.head.Missing(ids)
	bases, _, _, err := db.stored(ctx, missing)
	if err == nil {
		err = db.addLegacy(ctx, invs, bases)
	}
	return bases, gen, err
}

// stored finds what is stored of ids, in days and in the parked file. Every id
// is in bases; where lists the days that have a row, unreadable the files that
// could not be asked.
func (db *DB) stored(ctx context.Context, ids []string) (bases map[string]head.Base, where map[string][]task.Day, unreadable []string, err error) {
	bases = make(map[string]head.Base, len(ids))
	where = map[string][]task.Day{}
	if len(ids) == 0 {
		return bases, where, nil, nil
	}
	view := db.catalog.View()
	defer view.Release()
	rows, err := view.Lookup(ctx, ids)
	if err == nil {
		_, err = view.Passing(nil) // a row that is overlooked would be there twice
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("looking up %d task_ids: %w", len(ids), err)
	}
	var parked map[string]task.Invocation
	if p := db.compact.Parked(); p != nil {
		if parked, err = p.Find(ctx, ids); err != nil {
			return nil, nil, nil, fmt.Errorf("looking up %d parked task_ids: %w", len(ids), err)
		}
	}
	for _, id := range ids {
		var b head.Base
		if r, ok := rows[id]; ok {
			merged := r.Invocation
			b.Inv = &merged
			for i := range r.Rows {
				b.Rows = append(b.Rows, &r.Rows[i])
			}
			where[id] = r.Where
			b.Alone = covered(b, r.Where)
		}
		if known, ok := parked[id]; ok {
			p := known // allocated only here: most ids are new
			b.Parked, b.Alone = true, false
			if b.Inv != nil {
				p.Merge(b.Inv)
			}
			b.Inv = &p
		}
		bases[id] = b
	}
	return bases, where, db.leftOut(view), nil
}

// promise makes room for a whole request, or refuses it.
func (db *DB) promise(ctx context.Context, invs []*task.Invocation) (giveBack func(), err error) {
	if int64(len(invs)) > db.opts.HeadMaxRecords {
		return nil, fmt.Errorf("%w: it has %d records, and --head.max-records is %d", ErrTooLarge, len(invs), db.opts.HeadMaxRecords)
	}
	bytes := int64(0)
	for _, v := range invs {
		bytes += v.Size()
	}
	if len(invs) > db.relief() || bytes > db.opts.HeadMaxBytes/6 { // parts would go to smaller ones
		db.wanted.Add(1)
		defer db.wanted.Add(-1)
	}
	ok, err := db.waitFor(ctx, func() (ok bool) {
		giveBack, ok = db.head.Promise(invs)
		return ok
	})
	if err == nil && !ok {
		err = db.Refuse()
	}
	return giveBack, err
}

// makeRoom waits until the cutter has made room, and if it cannot keep up drops
// the oldest. full says that there is no room and nothing could be dropped. With
// OverflowReject nothing may go: Promise keeps the room, so that nobody should get here.
func (db *DB) makeRoom(ctx context.Context) (dropped []string, full bool, err error) {
	if ok, err := db.waitFor(ctx, db.hasRoom); ok || err != nil {
		return nil, false, err
	}
	if db.opts.OnOverflow == OverflowReject {
		return nil, false, db.Refuse()
	}
	dropped, full = db.dropOldest(db.hasRoom)
	return dropped, full, nil
}

// noteDropped counts and warns, once in ten seconds.
func (db *DB) noteDropped(reason string, n int64) {
	db.metrics.dropped.WithLabelValues(reason).Add(float64(n))
	total := db.dropped.Add(n)
	db.mu.Lock()
	defer db.mu.Unlock()
	if now := time.Now(); n > 0 && now.Sub(db.warned) > 10*time.Second {
		db.warned = now
		level.Warn(db.logger).Log("msg", "the head is full and cutting cannot keep up: the oldest invocations are dropped", "dropped_total", total)
	}
}

// hurry asks the cutter to make a round now.
func (db *DB) hurry() {
	select {
	case db.pressure <- struct{}{}:
	default:
	}
}
