package tsdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"daybook/head/wal"
)

const (
	// stallAfter is how long the disk may take to answer the log before
	// requests are refused at once: until then they wait.
	stallAfter = 5 * time.Second
	// LogWait is how long a request waits for the log. Its records are in
	// memory then and may still be stored.
	LogWait = 10 * time.Second
	// stallWarn is how often refusals are logged.
	stallWarn = 10 * time.Second
)

// maxPending bounds what waits in memory to be logged before more is taken:
// the head's caps do not, since what it drops is in the log's buffer still.
func (db *DB) maxPending() int64 { return max(db.opts.HeadMaxBytes/8, 1<<20) }

// heed refuses what the log cannot take: the disk does not answer, or what is
// already waiting for it is too much.
func (db *DB) heed(ctx context.Context, records int) error {
	if stalled := db.wal.Stalled(); stalled >= db.opts.stallAfter {
		return db.refuseStalled(int64(records), stalled)
	}
	if db.wal.PendingBytes() > db.maxPending() {
		ctx, cancel := context.WithTimeout(ctx, OverflowWait)
		defer cancel()
		if err := db.head.WaitContext(ctx, db.wal.Enqueue()); errors.Is(err, context.DeadlineExceeded) {
			return db.refuseStalled(int64(records), db.wal.Stalled())
		}
	}
	db.stalling.end()
	return nil
}

// waitLog waits until a ticket is durable, but not for a disk that stalls.
func (db *DB) waitLog(ctx context.Context, t wal.Ticket, records int) error {
	ctx, cancel := context.WithTimeout(ctx, db.opts.logWait)
	defer cancel()
	err := db.head.WaitContext(ctx, t)
	switch {
	case err == nil:
		db.tried(opLog, nil)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return db.refuseStalled(int64(records), db.wal.Stalled())
	default:
		db.noteLoss(lossNotLog, 0) // logFailed knows of it
		err = fmt.Errorf("logging: %w", err)
	}
	return err
}

// stalling is a time in which the disk does not answer.
type stalling struct {
	mu     sync.Mutex
	lines  int64 // refused so far
	logged time.Time
}

// end says that requests are taken again.
func (s *stalling) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines, s.logged = 0, time.Time{}
}

// refuseStalled records what is refused as a gap.
func (db *DB) refuseStalled(records int64, stalled time.Duration) error {
	now := db.opts.Now()
	s := &db.stalling
	s.mu.Lock()
	s.lines += records
	warn, lines := now.Sub(s.logged) >= stallWarn, s.lines
	if warn {
		s.logged = now
	}
	s.mu.Unlock()
	db.noteLoss(lossNoAnswer, 0)
	if warn {
		level.Warn(db.logger).Log("msg", "the disk does not answer: requests are refused", "stalled", stalled, "refused_lines", lines)
	}
	if stalled == 0 {
		return fmt.Errorf("%w: what is stored could not be looked up in time", ErrStalled)
	}
	return fmt.Errorf("%w: it has been writing the log for %s", ErrStalled, stalled.Round(time.Second/10))
}

// stallReason says that the disk stalls; empty if it does not.
func (db *DB) stallReason() string {
	if db.wal == nil {
		return ""
	}
	if stalled := db.wal.Stalled(); stalled >= db.opts.stallAfter {
		return fmt.Sprintf("the disk does not answer: it has been writing the log for %s, and requests are refused", stalled.Round(time.Second))
	}
	return ""
}
