package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"daybook/compact"
	"daybook/head"
	"daybook/head/wal"
	"daybook/tsdb/task"
)

// logWriter writes a new log, for a copy of a data directory.
type logWriter struct{ log *wal.Log }

// logPending is how much is gathered before it is written.
const logPending = 4 << 20

func newLogWriter(dir string) (*logWriter, error) {
	l, err := wal.Open(dir, wal.Options{FS: logFS, Sync: wal.SyncNever})
	if err != nil {
		return nil, err
	}
	if _, err := l.Replay(context.Background(), func([]byte) error { return nil }, nil); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &logWriter{log: l}, nil
}

func (w *logWriter) add(rec []byte) error {
	t := w.log.Enqueue(rec)
	if w.log.PendingBytes() < logPending {
		return nil
	}
	return w.log.Wait(t)
}

// close makes it durable.
func (w *logWriter) close() error { return errors.Join(w.log.Sync(), w.log.Close()) }

// copyLog writes what a log holds, as it is at some instant, to a new one. A
// daemon may be writing it; what is damaged is not copied, and told. A
// directory without a log makes an empty one.
func copyLog(from, to string) (damaged []error, err error) {
	w, err := newLogWriter(to)
	if err != nil {
		return nil, err
	}
	var resetErr error
	stats, err := wal.Read(from, func() {
		// A checkpoint took files away: what was read is not all from one instant.
		resetErr = errors.Join(w.log.Close(), compact.RemoveAll(to))
		if resetErr == nil {
			var next *logWriter
			if next, resetErr = newLogWriter(to); resetErr == nil {
				w = next
			}
		}
	}, func(rec []byte) error {
		if resetErr != nil {
			return resetErr
		}
		return w.add(rec)
	})
	if errors.Is(err, os.ErrNotExist) && !exists(from) {
		err = nil
	}
	for _, c := range stats.Corruptions {
		damaged = append(damaged, fmt.Errorf("wal/%s is damaged; what is intact of it is copied: %s", filepath.Base(c.File), c.Reason))
	}
	return damaged, errors.Join(err, resetErr, w.close())
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// headState is everything that only the head knows.
type headState struct {
	invs  []*task.Invocation
	gaps  []task.Gap
	floor task.Day
	gone  task.Day // what was deleted is from before it, if some is
	some  bool
}

func (db *DB) headState() headState {
	db.tellLosses()
	snap := db.head.Snapshot()
	s := headState{invs: snap.Slice(), gaps: db.head.Gaps(), floor: db.head.Floor()}
	s.gone, s.some = db.head.Deleted()
	return s
}

// writeLog writes a log from which a head of that state is replayed.
func (s *headState) writeLog(ctx context.Context, dir string, o head.Options) (err error) {
	w, err := newLogWriter(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	h := head.New(w.log, o)
	if err := h.LogFloor(s.floor); err != nil {
		return err
	}
	if s.some {
		if err := h.LogDeleted(s.gone); err != nil {
			return err
		}
	}
	for _, g := range s.gaps {
		h.AddGap(g)
	}
	return head.EmitAll(s.invs, func(rec []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return w.add(rec)
	})
}
