package compact

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// Retain deletes the days that are past retention, what is left of lost ones too, and raises the floor, or takes back one
// that is not to be believed. It returns the number of days deleted.
func (c *Compactor) Retain(ctx context.Context, h Head) (int, error) {
	now := c.opts.Now()
	steady := c.Steady()
	c.Remember()
	if !steady {
		return 0, nil
	}
	floor := floorOf(now, c.opts.RetentionTime)
	c.logFloor(h, floor)
	if c.opts.RetentionTime == 0 {
		return 0, nil
	}
	fault.Point("retain.floored")
	var days []task.Day
	for _, s := range c.states() {
		if !s.beingSealed {
			days = append(days, s.day)
		}
	}
	days = planRetention(now, days, floor)
	if len(days) > 0 {
		c.noteDeleted(h, days[len(days)-1])
	}
	n, err := c.expire(ctx, h, days, "age")
	if n > 0 {
		fault.Point("retain.done")
	}
	return n, errors.Join(err, c.expireLost(h, floor))
}

// Steady looks at the clock and reports whether it has gone on without a jump for an
// hour. Until then nothing is deleted for its age, nor given up.
func (c *Compactor) Steady() bool {
	now := c.opts.Now()
	c.mu.Lock()
	seen := c.guard.seen
	jumped, paused := c.guard.look(now)
	until := c.guard.paused
	c.mu.Unlock()
	if jumped {
		last := "never"
		if !seen.Equal(unknownTime) {
			last = stamp(seen)
		}
		level.Warn(c.logger).Log("msg", "the clock has jumped by more than an hour since it was last seen, or nobody has looked at it for as long: deletion by age and giving up are paused", "last_seen", last, "until", stamp(until))
		c.opts.Observer.Tried("clock", notePause(c.dirs.lock, until))
	}
	return !paused
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// logFloor raises the floor. Deleting must not depend on writing: on a full disk
// the floor stays in memory, and the next start works it out anew.
func (c *Compactor) logFloor(h Head, floor task.Day) {
	if wrong, is := h.WrongFloor(); is {
		to := "none"
		if d := max(floor, h.Floor()); d >= 0 {
			to = d.String()
		}
		level.Warn(c.logger).Log("msg", "the retention floor lies in the future, where a clock that was wrong has put it: it is taken back", "floor", wrong, "to", to)
	}
	if err := h.LogFloor(floor); err != nil {
		level.Warn(c.logger).Log("msg", "the retention floor is not in the log", "err", err)
	}
}

// LetGo lets rows of expired days out of the head, and says so in the log, before
// the files go that they began with: an event about such a row may be of a later day, and
// would be taken for a new invocation if it were all that is left. What stays may
// have begun with such a row: a checkpoint has what it told. By then nobody may
// find these files any more.
func (c *Compactor) LetGo(ctx context.Context, h Head) error {
	// Whoever has found a row there has appended to the head what came of it.
	if err := h.Settle(ctx); err != nil {
		level.Warn(c.logger).Log("msg", "days are deleted while requests are under way that may know their rows: after a crash these runs may lack their beginning", "err", err)
	}
	err := c.cutExpired(ctx, h)
	if err := h.Checkpoint(); err != nil { // deleting must not depend on writing
		level.Warn(c.logger).Log("msg", "no checkpoint before days are deleted: after a crash runs that began in them may lack their beginning", "err", err)
	}
	return err
}

func (c *Compactor) cutExpired(ctx context.Context, h Head) error {
	c.act.Lock()
	defer c.act.Unlock()
	expired := slices.DeleteFunc(h.Ready(true, math.MaxInt), func(r Row) bool { return r.Inv.Day() >= h.Floor() })
	var errs []error
	for rows := range slices.Chunk(expired, cutRows) {
		_, _, err := c.cutRows(ctx, h, rows, true, true)
		errs = append(errs, err)
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

// expire takes days, whose floor is raised, out of the catalog, saves what the
// head has of them, waits for their readers, and deletes their files; a day that
// is being sealed stays. It returns how many have gone.
func (c *Compactor) expire(ctx context.Context, h Head, days []task.Day, cause string) (n int, err error) {
	var going []doomed
	for _, d := range days {
		if x, out := c.takeOut(d, cause); out {
			going = append(going, x)
		}
	}
	if len(going) == 0 {
		return 0, nil
	}
	fault.Point("retain.out")
	errs := []error{c.LetGo(ctx, h)}
	fault.Point("retain.let-go")
	for _, x := range going {
		err := c.remove(ctx, x)
		if err == nil {
			n++
		}
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// takeOut takes a day out of the catalog.
func (c *Compactor) takeOut(d task.Day, cause string) (x doomed, out bool) {
	c.act.Lock()
	defer c.act.Unlock()
	x = doomed{day: d, cause: cause, began: time.Now()} // after the cut that was under way
	c.mu.Lock()
	files := c.days[d]
	if files == nil || files.sealing {
		c.mu.Unlock()
		return x, false
	}
	delete(c.days, d)
	c.mu.Unlock()
	x.live, x.sealed = files.live, files.sealed
	c.publish(d)
	return x, true
}

// Remember notes the time as the one at which the clock was last seen: it is
// the LOCK file's modification time, which needs no free disk.
func (c *Compactor) Remember() {
	if !c.left.Load() {
		c.remember()
	}
}

// Leave notes the time once more and for the last time: what comes later is not
// taken in, however long the end takes.
func (c *Compactor) Leave() {
	if !c.left.Swap(true) {
		c.remember()
	}
}

func (c *Compactor) remember() {
	now := c.opts.Now()
	err := fault.Op("chtimes", c.dirs.lock)
	if err == nil {
		err = os.Chtimes(c.dirs.lock, now, now)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	c.opts.Observer.Tried("clock", err)
}

// Paused reports until when deletion by age and giving up are paused; zero if they are not.
func (c *Compactor) Paused() time.Time {
	now := c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.guard.until(now)
}
