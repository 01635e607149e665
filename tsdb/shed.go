package tsdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/head"
)

// ErrDiskFull is returned by Append when the disk has no room for what it
// would store: nothing of the call was stored; try later.
var ErrDiskFull = errors.New("the disk is full")

// maxReserve is what ingest leaves free: room to cut, to checkpoint the log and
// to shut down, all of which need some before they give some back. Small disks
// keep a sixteenth.
const maxReserve = 64 << 20

// A disk with this much more room than is needed is not asked again for a while:
// that asks for the size of every live file's WAL, an eighth of the processor time of
// requests of one line.
const (
	ampleRoom = 1 << 30
	ampleTime = 100 * time.Millisecond
)

// shedNote is how often a refusal is logged.
const shedNote = time.Second

// shedder knows of refusals for want of disk space.
type shedder struct {
	mu    sync.Mutex
	need  int64 // what has to be free for the last one
	lines int64
	noted time.Time
	ample atomic.Pointer[time.Time] // until then there is room, whatever comes
}

// hasAmple reports whether the disk need not be asked.
func (s *shedder) hasAmple() bool {
	until := s.ample.Load()
	return until != nil && time.Now().Before(*until)
}

// diskRoom is what is free, and what has to be for so many more bytes of log:
// what the head holds has to fit into the days as well, where it takes about
// half of what it takes in memory, and so has what is in the days' WALs.
func (db *DB) diskRoom(bytes int64) (free, need int64, err error) {
	space, err := blocks.DiskSpaceOf(db.opts.Dir)
	if err != nil {
		return 0, 0, err
	}
	_, held := db.head.Size()
	return space.Free, min(maxReserve, space.Total/16) + held/2 + bytes + db.compact.WALBytes(), nil
}

// keepFree is what a seal leaves for requests: with less they are refused.
func (db *DB) keepFree() int64 {
	_, need, err := db.diskRoom(0)
	if err != nil {
		return 0
	}
	return need
}

// tighten empties the WALs of the live files while there is still room to.
func (db *DB) tighten(ctx context.Context) error {
	free, need, err := db.diskRoom(0)
	if err != nil || free >= 2*need {
		return nil
	}
	return db.compact.Tighten(ctx)
}

// shed refuses what the disk has no room for, before it is in memory and
// pushes out what was acknowledged. Where deleting past days does not help,
// the details of successes go first.
func (db *DB) shed(ctx context.Context, records *head.Records) error {
	if db.shedding.hasAmple() {
		return nil
	}
	bytes := records.Bytes()
	free, need, err := db.diskRoom(bytes)
	if err != nil {
		return nil // the log will tell
	}
	stuck := db.opts.DiskUsage == 0 || db.compact.Pressure() != ""
	db.thin.bare.Store(stuck && free < 2*need)
	if free >= need {
		db.shedding.end()
		if free >= 2*need+ampleRoom {
			until := time.Now().Add(ampleTime)
			db.shedding.ample.Store(&until)
		}
		return nil
	}
	if _, held := db.head.Size(); free >= need-held/2 { // cutting gives enough back
		fits, err := db.waitFor(ctx, func() bool {
			free, need, err := db.diskRoom(bytes)
			return err != nil || free >= need
		})
		if fits || err != nil {
			return err
		}
	}
	db.noteShed(int64(records.Len()), free, need)
	return fmt.Errorf("%w: %d bytes are free, and storing this takes %d", ErrDiskFull, free, need)
}

// noteShed records what was refused as a gap.
func (db *DB) noteShed(lines, free, need int64) {
	now := db.opts.Now()
	s := &db.shedding
	s.mu.Lock()
	s.lines, s.need = s.lines+lines, need
	note := now.Sub(s.noted) >= shedNote
	if note {
		s.noted = now
	}
	refused := s.lines
	s.mu.Unlock()
	db.noteLoss(lossDiskFull, 0)
	if note {
		level.Warn(db.logger).Log("msg", "the disk is full: requests are refused", "free_bytes", free, "needed_bytes", need, "refused_lines", refused)
	}
}

// end says that requests are taken again.
func (s *shedder) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.need, s.lines, s.noted = 0, 0, time.Time{}
}

// diskReasons says what Append does for want of disk space, and whether it
// refuses.
func (db *DB) diskReasons() (reasons []string, refuses bool) {
	if db.readOnly || !db.ready.Load() || db.closed.Load() {
		return nil, false
	}
	free, need, err := db.diskRoom(0)
	db.shedding.mu.Lock()
	need = max(need, db.shedding.need)
	db.shedding.mu.Unlock()
	if err == nil && free < need {
		reasons, refuses = append(reasons, fmt.Sprintf("the disk is full: requests are refused until %d bytes are free, %d are", need, free)), true
	}
	if db.thin.bare.Load() {
		reasons = append(reasons, "the disk is nearly full: args, kwargs and result of successes are left out")
	}
	return reasons, refuses
}
