package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Replay calls fn for each record of the newest complete checkpoint, then of every later segment,
// in order. The slice is valid during the call. It must succeed once before the first Enqueue.
// progress, which may be nil, is called now and then with the bytes done and the total.
//
// Damage is not an error: see ReplayStats.Corruptions. The torn end of the last segment is cut off.
// An error is returned when fn or ctx ends the replay, and when reading or cutting off does not
// work; it can then be called again, and fn sees the records again from the first.
func (l *Log) Replay(ctx context.Context, fn func(rec []byte) error, progress func(done, total int64)) (ReplayStats, error) {
	l.token <- struct{}{}
	defer l.release()
	if err := l.check(); err == nil {
		return ReplayStats{}, ErrReplayed
	} else if !errors.Is(err, ErrNotReplayed) {
		return ReplayStats{}, err
	}
	inv, err := list(l.opt.FS, l.dir)
	if err != nil {
		return ReplayStats{}, err
	}
	ld := &loader{ctx: ctx, fs: l.opt.FS, dir: l.dir, inv: inv, fn: fn, progress: progress}
	if err := ld.load(); err != nil {
		return ld.stats, err
	}
	if ld.last.torn {
		if err := l.repair(ld.last); err != nil {
			return ld.stats, err
		}
		inv.segments[len(inv.segments)-1].size = ld.last.end
	}
	l.files.reset(inv)
	for _, path := range ld.stats.Damaged {
		l.files.setDamaged(filepath.Base(path))
	}
	l.tail = tailAfter(inv, ld.last)

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.state == stateClosed {
		return ld.stats, ErrClosed
	}
	l.mu.state = stateReplayed
	return ld.stats, nil
}

// repair cuts off the torn end, so that tools and people see what the log sees.
func (l *Log) repair(last lastSegment) error {
	f, err := l.opt.FS.OpenWrite(last.path)
	if err != nil {
		return fmt.Errorf("wal: opening for repair: %w", err)
	}
	err = f.Truncate(last.end)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("wal: cutting off the torn end of %s: %w", last.path, err)
	}
	return nil
}

// tailAfter returns where to write after a replay: always to a new segment, because nobody knows
// what of the old one had reached the disk.
func tailAfter(inv inventory, last lastSegment) tail {
	t := tail{next: inv.max + 1}
	switch {
	case last.num == 0: // no segment was read
	case last.bad == "" && last.end == headerSize:
		t.prev, t.prevLen = last.header.prev, last.header.prevLen
		t.empty = []uint64{last.num}
	default:
		t.prev, t.prevLen = last.num, last.end
	}
	return t
}
