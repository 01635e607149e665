package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"daybook/compact"
	"daybook/head"
	"daybook/head/wal"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

const (
	mendInterval   = 2 * time.Second
	retainInterval = time.Minute
	spaceInterval  = 3 * time.Second
	// checkpointGrowth is how much the log grows before what is open is
	// written as a checkpoint and the segments before it go. A start reads as
	// much: some 170 000 invocations that came in batches.
	checkpointGrowth = 32 << 20
	// resolveBatch is how many replayed ids are looked up at once.
	resolveBatch = 2000
)

// Run replays the log, makes the DB ready, and then cuts, seals and deletes
// until ctx ends. It returns nil then, and an error only if the log cannot be
// replayed. A DB from OpenReadOnly has nothing to run.
func (db *DB) Run(ctx context.Context) error {
	if db.readOnly {
		<-ctx.Done()
		return nil
	}
	if err := db.replay(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	db.noteDowntime()
	db.ready.Store(true)
	db.addEarlyGaps()
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){db.cutLoop, db.sealLoop, db.retainLoop, db.spaceLoop, db.logLoop, db.legacyLoop, db.mendLoop, db.countParked} {
		wg.Go(func() { loop(ctx) })
	}
	wg.Wait()
	return nil
}

// downtimeNoticed is how long no daemon has to have run here to be a gap. The
// clock is noted every spaceInterval, and when a daemon is stopped.
const downtimeNoticed = 2 * spaceInterval

// noteDowntime records the time in which no daemon ran here.
func (db *DB) noteDowntime() {
	now, seen := db.opts.Now(), db.lock.lastSeen
	if !seen.IsZero() && now.Sub(seen) > downtimeNoticed {
		db.head.AddGap(task.Gap{Source: "daemon", Cause: "daemon down", From: seen.UnixMicro(), To: now.UnixMicro()})
		// From now on the clock is noted: the next start would not know.
		if err := db.settleGaps(); err != nil {
			db.tried(opCut, err) // whose next round does it
		}
	}
}

// replay rebuilds the head, cutting as it goes.
func (db *DB) replay(ctx context.Context) error {
	began := time.Now()
	db.head.CutSeen(db.compact.LastCut())
	db.seeCuts = sync.OnceValue(func() error { return db.head.SeeCuts(filepath.Join(db.opts.Dir, "wal")) })
	res, err := db.head.Replay(ctx, head.Replaying{
		Known:   func(cut uint64, d task.Day) bool { return db.compact.Knows(cut, d, db.head.Floor()) },
		Relieve: db.relieveReplay,
		Progress: func(done, total int64) {
			db.done.Store(done)
			db.total.Store(total)
		},
	})
	if err != nil {
		return err
	}
	for _, c := range res.Log.Corruptions {
		level.Error(db.logger).Log("msg", "the log is damaged; what is intact was replayed", "err", c)
	}
	db.tried(opReplay, damageOf(res)) // for as long as it runs: records may be missing
	fault.Point("replay.read")
	db.head.CutSeen(db.compact.LastCut())
	if err := db.resolveReplayed(ctx); err != nil {
		return err
	}
	fault.Point("replay.resolved")
	db.tried(opLive, db.compact.Prepare())
	fault.Point("replay.prepared")
	db.saveShared()
	db.replayed = res.Records > 0
	db.trimmed.Store(db.wal.Bytes())
	db.tried(opMoves, db.finishMoves(ctx))
	records, _ := db.head.Size()
	level.Info(db.logger).Log("msg", "replayed the log", "records", res.Records, "head_records", records, "torn_bytes", res.Log.TornBytes,
		"abandoned_bytes", res.Log.AbandonedBytes, "unknown_files", len(res.Log.Unknown), "took", time.Since(began))
	return nil
}

// trimReplayed writes what was replayed as a checkpoint. Nobody waits for it: it
// is all that the head holds.
func (db *DB) trimReplayed() {
	if db.replayed {
		_ = db.checkpoint() // noted, and done again by the cutter
	}
	fault.Point("replay.trimmed")
	db.trimmed.Store(db.wal.Bytes())
}

// damageOf is what a replay could not read; nil if it read everything.
func damageOf(res head.Replayed) error {
	var errs []error
	for _, c := range res.Log.Corruptions {
		errs = append(errs, c)
	}
	const told = 5
	if n := len(errs) - told; n > 0 {
		errs = append(errs[:told:told], fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
}

// relieveReplay makes room in the middle of a replay: what is replayed is
// resolved, what is finished is cut, and if open ones still fill the head the
// idle are parked, or given up again. None of it is logged; see package head.
func (db *DB) relieveReplay(ctx context.Context) error {
	if err := db.seeCuts(); err != nil {
		return err
	}
	if err := db.resolveReplayed(ctx); err != nil {
		return err
	}
	fault.Point("relieve.resolved")
	if _, err := db.compact.Cut(ctx, db.cuttable(), true, false); err != nil {
		return err
	}
	fault.Point("relieve.cut")
	_, err := db.park(ctx, false)
	return err
}

// resolveReplayed gives the replayed entries their stored rows, and lets those
// go that their row covers.
func (db *DB) resolveReplayed(ctx context.Context) error {
	for below := math.MaxInt; ; {
		var ids []string
		if ids, below = db.head.Unresolved(resolveBatch, below); len(ids) == 0 {
			return nil
		}
		bases, where, _, err := db.stored(ctx, ids)
		if err != nil {
			return fmt.Errorf("resolving replayed invocations: %w", err)
		}
		invs := make([]*task.Invocation, 0, len(ids))
		for _, id := range ids {
			if v := db.head.Get(id); v != nil {
				invs = append(invs, v)
			}
		}
		if err := db.addLegacy(ctx, invs, bases); err != nil {
			return fmt.Errorf("resolving replayed invocations: %w", err)
		}
		for id, b := range bases {
			db.head.Resolve(id, b, covered(b, where[id]))
		}
	}
}

// covered reports whether a stored row stands where it belongs, alone: in one
// day or in the parked file.
func covered(b head.Base, where []task.Day) bool {
	switch {
	case b.Inv == nil:
		return false
	case b.Parked:
		return len(where) == 0 && b.Inv.Open()
	}
	return len(where) == 1 && !b.Inv.Open() && where[0] == b.Inv.Day()
}

// walFull reports whether the log has reached its cap and grown since it was
// last trimmed: what is open alone may be more than the cap.
func (db *DB) walFull() bool {
	size := db.wal.Bytes()
	return size >= db.opts.WALMaxBytes && size-db.trimmed.Load() >= db.opts.WALMaxBytes/4
}

// maybeCheckpoint trims the log when it has grown.
func (db *DB) maybeCheckpoint() error {
	grown := db.wal.Bytes()-db.trimmed.Load() >= checkpointGrowth || db.walFull()
	if !grown && !db.wal.NeedsCheckpoint() && !db.fails(opCheckpoint) {
		return nil
	}
	if err := db.checkpoint(); err != nil {
		return err
	}
	db.trimmed.Store(db.wal.Bytes())
	return nil
}

// checkpoint writes one, and notes what came of it.
func (db *DB) checkpoint() error {
	db.tried(opLogFiles, nil) // it tries them again
	err := db.head.Checkpoint()
	db.tried(opCheckpoint, err)
	if err == nil && !db.wal.NeedsCheckpoint() {
		db.tried(opLog, nil) // it is written again, and nobody else may be writing
	}
	return err
}

// logFailed is told by the log what it cannot write or delete.
func (db *DB) logFailed(err error) {
	var stays *wal.RemoveError
	if errors.As(err, &stays) {
		db.tried(opLogFiles, err)
		return
	}
	db.tried(opLog, err)
}

// sealLoop seals past days and prepares the next.
func (db *DB) sealLoop(ctx context.Context) {
	every(ctx, compact.SealRound, func() { db.sealRound(ctx) })
}

func (db *DB) sealRound(ctx context.Context) {
	db.tried(opLive, db.compact.Prepare())
	db.saveShared() // a day that it does not name costs the rollups
	select {
	case db.sealing <- struct{}{}:
		defer func() { <-db.sealing }()
	case <-ctx.Done():
		return
	}
	// While all that fails only waits, it is as it was.
	if tried, err := db.compact.Seal(ctx, false); tried {
		db.tried(opSeal, err)
	}
}

// mendLoop does again what the disk did not let be done, beside the sealer: a
// day may be large to check.
func (db *DB) mendLoop(ctx context.Context) {
	every(ctx, mendInterval, func() { db.compact.Mend(ctx) })
}

// retainLoop deletes what has aged out, at once and then every minute.
func (db *DB) retainLoop(ctx context.Context) {
	db.retainRound(ctx)
	every(ctx, retainInterval, func() { db.retainRound(ctx) })
}

func (db *DB) retainRound(ctx context.Context) {
	_, err := db.compact.Retain(ctx, db.cuttable())
	db.tried(opRetain, err)
	db.tried(opLegacy, db.retainLegacies())
}

// spaceLoop deletes what there is no room for.
func (db *DB) spaceLoop(ctx context.Context) {
	every(ctx, spaceInterval, func() { db.spaceRound(ctx) })
}

func (db *DB) spaceRound(ctx context.Context) {
	db.compact.Remember()
	db.tried(opLock, db.lock.check())
	_, err := db.compact.RetainSpace(ctx, db.cuttable())
	db.tried(opSpace, err)
}

func (db *DB) logLoop(ctx context.Context) {
	if err := db.wal.Run(ctx); err != nil {
		db.tried(opLog, err)
	}
}

// every calls fn in intervals until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			fn()
		}
	}
}

// Cut cuts everything finished or given up now, settled or not; seal also
// seals the past days. It returns when all of it is durable: rows of a day that is
// being sealed are cut when that is over.
func (db *DB) Cut(ctx context.Context, seal bool) (CutResult, error) {
	if db.readOnly {
		return CutResult{}, ErrReadOnly
	}
	db.running.Add(1)
	defer db.running.Done()
	if err := db.usable(); err != nil {
		return CutResult{}, err
	}
	if err := db.settleGaps(); err != nil {
		return CutResult{}, err
	}
	res, err := db.compact.Cut(ctx, db.cuttable(), true, true)
	if err == nil && (seal || res.Waiting > 0) {
		var more compact.CutResult
		more, err = db.cutUnsealed(ctx, seal)
		res.Rows += more.Rows
		res.Days = slices.Compact(slices.Sorted(slices.Values(append(res.Days, more.Days...))))
	}
	out := CutResult{Rows: res.Rows}
	for _, d := range res.Days {
		out.Days = append(out.Days, d.String())
	}
	return out, err
}

// cutUnsealed is Cut while no day is being sealed.
func (db *DB) cutUnsealed(ctx context.Context, seal bool) (res compact.CutResult, err error) {
	select {
	case db.sealing <- struct{}{}:
		defer func() { <-db.sealing }()
	case <-ctx.Done():
		return res, ctx.Err()
	}
	res, err = db.compact.Cut(ctx, db.cuttable(), true, true)
	if err == nil && seal {
		_, err = db.compact.Seal(ctx, true)
	}
	return res, err
}

// Close cuts what is finished and lets go of the directory. Run must have
// returned. It is idempotent.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.running.Wait()
	var errs []error
	if db.ready.Load() && !db.readOnly {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		gaps := db.settleGaps()
		_, err := db.compact.Cut(ctx, db.cuttable(), true, true)
		err = errors.Join(gaps, err)
		if err == nil {
			err = db.head.Checkpoint()
		}
		errs = append(errs, err)
		db.compact.Remember()
	}
	return errors.Join(append(errs, db.release())...)
}
