package compact

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"github.com/go-kit/log/level"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// Retain deletes the days that are past retention and raises the floor. It
// returns the number of days deleted.
func (c *Compactor) Retain(ctx context.Context, h Head) (int, error) {
	now := c.opts.Now()
	c.mu.Lock()
	jumped, paused := c.guard.look(now)
	until := c.guard.paused
	c.mu.Unlock()
	if jumped {
		level.Warn(c.logger).Log("msg", "the clock has jumped by more than an hour since it was last seen: deletion by age is paused", "until", until.UTC().Format(time.RFC3339))
	}
	c.Remember()
	if paused || c.opts.RetentionTime == 0 {
		return 0, nil
	}
	floor := floorOf(now, c.opts.RetentionTime)
	// Deleting must not depend on writing: on a full disk the floor stays in
	// memory, and the next start works it out anew.
	if err := h.LogFloor(floor); err != nil {
		level.Warn(c.logger).Log("msg", "the retention floor is not in the log", "err", err)
	}
	fault.Point("retain.floored")
	var days []task.Day
	for _, s := range c.states() {
		if !s.beingSealed {
			days = append(days, s.day)
		}
	}
	var errs []error
	n := 0
	defer func() {
		if n > 0 {
			fault.Point("retain.done")
		}
	}()
	days = planRetention(now, days, floor)
	if len(days) > 0 {
		c.noteDeleted(h, days[len(days)-1])
		errs = append(errs, c.letGo(ctx, h))
	}
	for _, d := range days {
		gone, err := c.expire(ctx, d, "age")
		if gone {
			n++
		}
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// letGo lets rows of expired days out of the head, and says so in the log, before
// their days are deleted: an event about such a row may be of a later day, and
// would be taken for a new invocation if it were all that is left. What stays may
// have begun with such a row: a checkpoint has what it told.
func (c *Compactor) letGo(ctx context.Context, h Head) error {
	c.act.Lock()
	defer c.act.Unlock()
	byDay := map[task.Day][]Row{}
	for _, r := range h.Ready(true, math.MaxInt) {
		if d := r.Inv.Day(); d < h.Floor() {
			byDay[d] = append(byDay[d], r)
		}
	}
	var errs []error
	for d, rows := range byDay {
		_, err := c.cutDay(ctx, h, d, rows, nil, true)
		errs = append(errs, err)
	}
	if err := h.Checkpoint(); err != nil { // deleting must not depend on writing
		level.Warn(c.logger).Log("msg", "no checkpoint before days are deleted: after a crash runs that began in them may lack their beginning", "err", err)
	}
	return errors.Join(errs...)
}

// noteDeleted notes in the log that a day is deleted, which coverage tells. On
// a full disk it is known until the end of the process.
func (c *Compactor) noteDeleted(h Head, d task.Day) {
	if err := h.LogDeleted(d + 1); err != nil {
		level.Warn(c.logger).Log("msg", "that a day is deleted is not in the log", "day", d, "err", err)
	}
}

// expire takes a day out of the catalog, waits for its readers, and deletes its
// files; a day that is being sealed stays.
func (c *Compactor) expire(ctx context.Context, d task.Day, cause string) (gone bool, err error) {
	c.act.Lock()
	began := time.Now() // after the cut that was under way
	c.mu.Lock()
	x := c.days[d]
	if x == nil || x.sealing {
		c.mu.Unlock()
		c.act.Unlock()
		return false, nil
	}
	delete(c.days, d)
	c.mu.Unlock()
	c.publish(d)
	c.act.Unlock()
	fault.Point("retain.out")
	err = c.remove(ctx, doomed{day: d, live: x.live, sealed: x.sealed, cause: cause, began: began})
	return err == nil, err
}

// Remember notes the time as the one at which the clock was last seen: it is
// the LOCK file's modification time, which needs no free disk.
func (c *Compactor) Remember() {
	now := c.opts.Now()
	err := os.Chtimes(c.dirs.lock, now, now)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	c.opts.Observer.Tried("clock", err)
}

// Paused reports until when deletion by age is paused; zero if it is not.
func (c *Compactor) Paused() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opts.Now().Before(c.guard.paused) {
		return c.guard.paused
	}
	return time.Time{}
}
