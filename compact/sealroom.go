package compact

import (
	"context"
	"errors"
	"fmt"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

const (
	// SealRound is how often Seal wants to be called, and how long a day that could
	// not be sealed waits at least.
	SealRound = 2 * time.Second
	// maxSealWait is how long such a day waits at most: a try may write as much as the
	// day is large before it fails. Alerts look for failures in a quarter of an hour,
	// which is to have one.
	maxSealWait = 10 * time.Minute
)

// putOff is why a day could not be sealed when that was last tried.
type putOff struct {
	err  error // nil if it could, or was not tried
	wait time.Duration
	next time.Time // when it is tried again
}

// again is what a failure makes of the one before it: each waits twice as long.
func (p putOff) again(now time.Time, err error) putOff {
	wait := min(max(2*p.wait, SealRound), maxSealWait)
	return putOff{err: err, wait: wait, next: now.Add(wait)}
}

// noRoomError is why a seal is put off before it writes anything. All are bytes.
type noRoomError struct{ need, free, kept int64 }

func (e *noRoomError) Error() string {
	return fmt.Sprintf("there is no room: its file may take %d bytes, %d are to stay free for what comes in, and %d are free. "+
		"Make room, or keep less (--retention.time, --retention.size, --retention.disk-usage)", e.need, e.kept, e.free)
}

// roomToSeal returns a noRoomError if what a seal writes, beside what it reads, may
// not fit. A disk that fills takes no requests, and what was written in vain is
// written again.
func (c *Compactor) roomToSeal(ctx context.Context, live *blocks.Live, old *blocks.Sealed) error {
	if empty(live, old) {
		return nil
	}
	need, err := blocks.SealRoom(ctx, live, old)
	if err != nil {
		return err
	}
	space, err := blocks.DiskSpaceOf(c.dirs.root)
	if err != nil {
		return nil // building it will tell
	}
	if kept := c.opts.KeepFree(); need > space.Free-kept {
		return &noRoomError{need: need, free: space.Free, kept: kept}
	}
	return nil
}

// waits reports whether a day that could not be sealed has to wait. One for which
// there was no room has not as soon as there is: looking costs little, and retention,
// or somebody else, may have made some.
func (c *Compactor) waits(ctx context.Context, d task.Day) bool {
	c.mu.Lock()
	x := c.days[d]
	if x == nil || x.live == nil || x.putOff.err == nil || !c.opts.Now().Before(x.putOff.next) {
		c.mu.Unlock()
		return false
	}
	err, live, old := x.putOff.err, x.live, x.sealed
	c.mu.Unlock()
	var full *noRoomError
	return !errors.As(err, &full) || c.roomToSeal(ctx, live, old) != nil
}

// noteSeal remembers what came of sealing a day.
func (c *Compactor) noteSeal(d task.Day, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch x := c.days[d]; {
	case x == nil: // nothing was left of it
	case err == nil:
		x.putOff = putOff{}
	default:
		x.putOff = x.putOff.again(c.opts.Now(), err)
	}
}

// putOffs are the errors of those days that are due, the oldest first: one that has
// been cut into since may not be before the next midnight.
func (c *Compactor) putOffs(due []task.Day) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, d := range due {
		if x := c.days[d]; x != nil && x.putOff.err != nil {
			errs = append(errs, fmt.Errorf("sealing %s: %w", d, x.putOff.err))
		}
	}
	return errors.Join(errs...)
}
