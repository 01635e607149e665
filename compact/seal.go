package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// Seal seals the past days that are due, one after the other; force takes all
// that have a live file. A day that cannot be sealed, or has no room for it, is
// put off: from SealRound to ten minutes, twice as long each time. The error is
// about every day that waits; tried says whether anything has been tried now, or
// nothing waits (any more).
func (c *Compactor) Seal(ctx context.Context, force bool) (tried bool, err error) {
	left := c.removeLeftovers()
	tried = left != nil
	due := planSeal(c.opts.Now(), c.states(), c.opts.SealDelay, force)
	for _, d := range due {
		if !force && c.waits(ctx, d) {
			continue
		}
		sealed, err := c.sealDay(ctx, d)
		if ctx.Err() != nil {
			return true, errors.Join(left, err, ctx.Err())
		}
		if errors.Is(err, errCrowded) && !force {
			tried = true
			continue // nothing is wrong, and it is not due before nothing comes for a while
		}
		if tried = tried || sealed || err != nil; sealed || err != nil {
			c.noteSeal(d, err)
		}
	}
	err = errors.Join(left, c.putOffs(due))
	return tried || err == nil, err
}

// sealDay builds a new sealed file from what the day has, publishes it, and
// lets go of what it replaces once the readers have left. While it builds, the
// day is not cut into: its rows wait in the head. It reports whether it has: not
// if there is nothing to do.
func (c *Compactor) sealDay(ctx context.Context, d task.Day) (done bool, err error) {
	began := time.Now()
	c.act.Lock()
	c.mu.Lock()
	x := c.days[d]
	if x == nil || x.live == nil || x.sealing || c.leftover[d] != "" || c.shut[d] != "" {
		c.mu.Unlock()
		c.act.Unlock()
		return false, nil
	}
	x.sealing = true
	live, old := x.live, x.sealed
	c.mu.Unlock()
	c.act.Unlock()
	defer func() {
		c.mu.Lock()
		x.sealing = false
		c.mu.Unlock()
	}()
	if err := c.roomToSeal(ctx, live, old); err != nil {
		return false, err
	}
	c.mu.Lock()
	c.highest[d]++ // also if it fails: what came of it may lie there
	gen := c.highest[d]
	c.mu.Unlock()

	sealPoint(old, "seal.begun", "reseal.begun")
	sealed, err := c.build(ctx, d, gen, live, old)
	if err != nil {
		return false, err
	}
	sealPoint(old, "seal.summed", "reseal.summed")
	c.act.Lock()
	c.mu.Lock()
	replaced := doomed{day: d, live: live, sealed: old}
	c.isLeaving(&replaced)
	x.sealed, x.live = sealed, nil
	if sealed == nil {
		delete(c.days, d)
	}
	c.mu.Unlock()
	c.publish(d)
	c.act.Unlock()
	sealPoint(old, "seal.published", "reseal.published")
	if sealed != nil {
		c.opts.Observer.Seal(sealed.Rows(), time.Since(began), old != nil)
		level.Info(c.logger).Log("msg", "sealed day", "day", d, "generation", gen, "rows", sealed.Rows(), "bytes", sealed.Bytes(), "took", time.Since(began))
	}
	c.balanceFilters()
	c.retire(ctx, replaced)
	return true, nil
}

// errCrowded is why a seal is put off that has to be begun anew anyway.
var errCrowded = errors.New("many invocations came for the day while it was being sealed: they go first")

// empty reports whether nothing is left of a day, so that no file is written.
func empty(live *blocks.Live, old *blocks.Sealed) bool {
	return old == nil && live.Rows() == 0 && len(live.Gaps()) == 0
}

// build makes, verifies and publishes the sealed file; nil if nothing is left
// of the day, not even a gap.
func (c *Compactor) build(ctx context.Context, d task.Day, gen int, live *blocks.Live, old *blocks.Sealed) (*blocks.Sealed, error) {
	if empty(live, old) {
		return nil, nil
	}
	p := pace{busy: func() bool { return c.opts.Busy() && c.waiting.Load() <= maxWaiting }}
	building, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	rest := func(ctx context.Context) {
		// What comes for the day while it is built cannot leave the head: of an import of
		// two files, or a broker's backlog, it would fill it, and be dropped.
		if n := c.waiting.Load(); n > maxWaiting && c.opts.Crowds(n) {
			stop(errCrowded)
			return
		}
		p.rest(ctx)
	}
	tmp, info, err := blocks.BuildSealed(building, c.dirs.tmp, blocks.SealInput{Day: d, Generation: gen, Live: live, Sealed: old, By: c.opts.By, Version: c.opts.Version, At: c.opts.Now(), Rest: rest})
	if err != nil && context.Cause(building) == errCrowded {
		level.Info(c.logger).Log("msg", "sealing is put off: many invocations came for the day meanwhile", "day", d, "waiting", c.waiting.Load())
		return nil, errCrowded
	}
	if err != nil {
		return nil, err
	}
	if info.Rows == 0 && info.Gaps == 0 {
		return nil, removeIfThere(tmp)
	}
	sealPoint(old, "seal.built", "reseal.built")
	path, err := blocks.PublishSealed(tmp, c.dirs.days, d, gen)
	if err != nil && path == "" {
		if path = filepath.Join(c.dirs.days, blocks.SealedName(d, gen)); !errors.Is(err, os.ErrExist) && exists(path) {
			c.leave(d, path)
		}
		return nil, errors.Join(err, removeIfThere(tmp))
	}
	if err != nil { // it is there, whole: Mend writes it
		c.needsChecksum(path)
		c.opts.Observer.Tried("checksum", err)
	}
	sealed, err := blocks.OpenSealed(path)
	if err != nil {
		// The live file still has everything. Left there, this one would hide
		// at the next start what is cut into the live file from now on.
		if removeErr := blocks.RemoveSealed(path); removeErr != nil {
			c.leave(d, path)
			err = errors.Join(err, removeErr)
		}
		return nil, err
	}
	return sealed, nil
}

// leave remembers a file that has its name and must not have it.
func (c *Compactor) leave(d task.Day, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leftover[d] = path
}

// removeLeftovers takes away what the disk did not let be taken away before. Its
// day is not sealed until then: the next generation would not say that it
// replaces this one.
func (c *Compactor) removeLeftovers() error {
	c.mu.Lock()
	left := maps.Clone(c.leftover)
	c.mu.Unlock()
	var errs []error
	for d, path := range left {
		if err := blocks.RemoveSealed(path); err != nil {
			errs = append(errs, fmt.Errorf("removing a sealed file that is not used: %w", err))
			continue
		}
		c.mu.Lock()
		delete(c.leftover, d)
		c.mu.Unlock()
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// sealPoint tells tests how far a day's sealing is, the first or a later one.
func sealPoint(old *blocks.Sealed, first, later string) {
	if old == nil {
		fault.Point(first)
		return
	}
	fault.Point(later)
}

func removeIfThere(path string) error {
	if err := fault.Op("remove", path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// FilterBytes is the memory of the id filters that are resident, those of days
// being written included.
func (c *Compactor) FilterBytes() (sum int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.days {
		if x.sealed != nil && x.sealed.FilterResident() {
			sum += x.sealed.FilterBytes()
		}
		if x.live != nil {
			sum += x.live.FilterBytes()
		}
	}
	return sum
}

// balanceFilters keeps the id filters of the newest days in memory, as far as
// the budget goes.
func (c *Compactor) balanceFilters() {
	view := c.opts.Catalog.View()
	defer view.Release()
	var sum int64
	var failed error
	for _, f := range view.Days() {
		if f.Sealed == nil {
			continue
		}
		if sum += f.Sealed.FilterBytes(); sum > c.opts.FilterBytes {
			f.Sealed.DropFilter()
			continue
		}
		if err := f.Sealed.LoadFilter(); err != nil && failed == nil {
			failed = fmt.Errorf("of %s: %w", f.Day, err)
		}
	}
	c.filtersFailed.Store(failed != nil)
	c.opts.Observer.Tried("filter", failed)
}
