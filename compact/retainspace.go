package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// pendingFree is a deletion that the file system has yet to show.
type pendingFree struct {
	others int64 // what was in use before it, without what Daybook had
	frees  int64
	at     time.Time
}

// showWait is how long the file system has to show that a deletion has freed
// something. Others may write as fast as we delete.
const showWait = time.Minute

// RetainSpace deletes the oldest of what there is, whole files, while the data
// directory is larger than its cap, or while the file system is fuller than
// its limit and deleting can help. It needs no free disk. It returns how many
// days and snapshots went.
func (c *Compactor) RetainSpace(ctx context.Context, h Head) (int, error) {
	failing, swept := c.sweepSnapshots()
	errs := []error{swept, c.removeDoomed(ctx)}
	if c.opts.Legacy != nil {
		err := c.opts.Legacy.DeleteLeft()
		c.noteStuck(stuckLegacy, err)
		errs = append(errs, err)
	}
	n, pressure := 0, ""
	for _, retain := range []func(context.Context, Head, map[string]bool) (int, string, error){c.retainSize, c.retainDisk} {
		k, over, err := retain(ctx, h, failing)
		n, pressure, errs = n+k, cmp.Or(pressure, over), append(errs, err)
	}
	c.mu.Lock()
	c.pressure = pressure
	c.mu.Unlock()
	return n, errors.Join(errs...)
}

// stuckWait is how long nothing else goes for want of what something would free
// that cannot be deleted.
const stuckWait = time.Minute

// stuckLegacy stands for all legacy files that cannot be deleted.
const stuckLegacy = "legacy"

// noteStuck notes what came of deleting a snapshot or a legacy file.
func (c *Compactor) noteStuck(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch _, known := c.stuck[what]; {
	case err == nil:
		delete(c.stuck, what)
	case !known:
		c.stuck[what] = c.opts.Now()
	}
}

// awaited reports whether something other than v cannot be deleted that may yet go,
// so that nothing goes for want of what it would free: for a minute each. Of days one
// may stay: where two do, deleting days helps nobody.
func (c *Compactor) awaited(v victim) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, days := c.opts.Now(), 0
	recent := func(since time.Time) bool { return !now.Before(since) && now.Sub(since) < stuckWait }
	for _, x := range c.doomed {
		if x.cause == "" {
			continue
		}
		if days++; days > 1 && v.isDay() || recent(x.failed) {
			return true
		}
	}
	for what, since := range c.stuck {
		if recent(since) && what != filepath.Base(v.snapshot) {
			return true
		}
	}
	return false
}

// Pressure says what is over its limit although everything that may be deleted
// has been; empty if nothing is.
func (c *Compactor) Pressure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pressure
}

// retainSize deletes what is too much. failing are the snapshots that cannot be
// deleted this time: the next one goes then.
func (c *Compactor) retainSize(ctx context.Context, h Head, failing map[string]bool) (n int, over string, err error) {
	var errs []error
	if c.opts.RetentionSize == 0 {
		return 0, "", nil
	}
	for ctx.Err() == nil {
		leaving := c.pathsLeaving() // before it is measured: what goes in between is neither
		s, err := c.measure()
		if err != nil {
			return n, "", errors.Join(append(errs, err)...)
		}
		excess := s.total - c.passing(s, leaving) - c.opts.RetentionSize
		if excess <= 0 {
			return n, "", errors.Join(errs...)
		}
		chosen, _ := planSpace(excess, c.victims(s, failing))
		if len(chosen) == 0 {
			return n, fmt.Sprintf("the data directory has %d bytes, more than --retention.size, and nothing in it is older than today", s.total), errors.Join(errs...)
		}
		if c.awaited(chosen[0]) {
			return n, "", errors.Join(errs...)
		}
		if err := c.deleteVictim(ctx, h, chosen[0], "size"); err != nil {
			errs, failing[filepath.Base(chosen[0].snapshot)] = append(errs, err), true
			continue
		}
		n++
	}
	return n, "", errors.Join(append(errs, ctx.Err())...)
}

// passing is what is there for a while only: what goes when its readers have left, and
// what is being built in tmp/. No day is to go for it, at each seal.
func (c *Compactor) passing(s space, leaving []string) (bytes int64) {
	freeing := s.freeing()
	for _, path := range leaving {
		bytes += freeing(path)
	}
	for path := range s.files {
		if strings.HasPrefix(path, c.dirs.tmp+string(filepath.Separator)) {
			bytes += freeing(path)
		}
	}
	return bytes
}

func (c *Compactor) pathsLeaving() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.leaving))
}

// retainDisk deletes one victim after the other, but none before the file
// system shows that the last one has gone.
func (c *Compactor) retainDisk(ctx context.Context, h Head, failing map[string]bool) (n int, full string, err error) {
	var errs []error
	if c.opts.DiskUsage == 0 {
		return 0, "", nil
	}
	for ctx.Err() == nil {
		d, err := diskOf(c.dirs.root)
		if err != nil {
			return n, "", errors.Join(append(errs, err)...)
		}
		excess := diskExcess(d, c.opts.DiskUsage)
		if excess == 0 {
			return n, "", errors.Join(errs...)
		}
		s, err := c.measure()
		if err != nil {
			return n, "", errors.Join(append(errs, err)...)
		}
		if c.notShownYet(d.used - s.total) {
			return n, "", errors.Join(errs...)
		}
		chosen, enough := planSpace(excess, c.victims(s, failing))
		if !enough {
			return n, fmt.Sprintf("the file system is %.0f %% full and deleting past days would not bring it under %.0f %%: make room, or lower --retention.time", 100*float64(d.used)/float64(d.size), c.opts.DiskUsage), errors.Join(errs...)
		}
		if c.awaited(chosen[0]) {
			return n, "", errors.Join(errs...)
		}
		c.mu.Lock()
		if chosen[0].frees > 0 { // a snapshot may hold nothing but other names
			c.pending = &pendingFree{others: d.used - s.total, frees: chosen[0].frees, at: c.opts.Now()}
		}
		c.mu.Unlock()
		if err := c.deleteVictim(ctx, h, chosen[0], "disk-usage"); err != nil {
			errs, failing[filepath.Base(chosen[0].snapshot)] = append(errs, err), true
			continue
		}
		n++
	}
	return n, "", errors.Join(append(errs, ctx.Err())...)
}

// notShownYet reports whether the file system does not show the last deletion.
// What is in use without what Daybook has tells, however fast ingest fills the
// room: as long as the bytes of a file that is gone count as used, they are
// nobody's.
func (c *Compactor) notShownYet(others int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending
	if p == nil || others <= p.others+p.frees/2 || c.opts.Now().Sub(p.at) >= showWait {
		c.pending = nil
		return false
	}
	return true
}

// victims are the snapshots, oldest first, then the past days and legacy files,
// oldest first, with what each gives back when those before it are gone: a sealed day that
// is linked into a snapshot gives nothing back before that has gone.
func (c *Compactor) victims(s space, failing map[string]bool) []victim {
	c.mu.Lock()
	_, stuck := c.stuck[stuckLegacy] // no other one goes for it
	c.mu.Unlock()
	offered := slices.DeleteFunc(c.offer(s), func(o offer) bool {
		return o.snapshot != "" && failing[filepath.Base(o.snapshot)] || o.legacy != "" && stuck
	})
	return price(offered, s.freeing())
}

func price(offered []offer, freeing func(path string) int64) []victim {
	out := make([]victim, len(offered))
	for i, o := range offered {
		out[i] = o.victim
		for _, path := range o.paths {
			out[i].frees += freeing(path)
		}
	}
	return out
}

// offer is a victim that has no price yet.
type offer struct {
	victim
	paths []string
}

func (c *Compactor) offer(s space) []offer {
	var out []offer
	for _, dir := range append(snapshotsIn(c.dirs.tmp), snapshotsIn(c.dirs.root)...) {
		o := offer{victim: victim{snapshot: dir}}
		for path := range s.files {
			if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
				o.paths = append(o.paths, path)
			}
		}
		out = append(out, o)
	}
	today := task.DayOf(c.opts.Now().UnixMicro())
	var legacy []LegacyFile
	if c.opts.Legacy != nil {
		legacy = c.opts.Legacy.HandedOver()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var days []offer
	for d, x := range c.days {
		if d >= today || x.sealing {
			continue
		}
		o := offer{victim: victim{day: d}}
		if x.sealed != nil {
			o.paths = append(o.paths, x.sealed.Path()) // its checksum is not worth counting
		}
		if x.live != nil {
			for _, side := range []string{"", "-wal", "-shm"} {
				o.paths = append(o.paths, x.live.Path()+side)
			}
		}
		days = append(days, o)
	}
	for _, f := range legacy {
		if f.Newest < today {
			days = append(days, offer{victim: victim{day: f.Newest, legacy: f.Path}, paths: f.Paths})
		}
	}
	slices.SortFunc(days, func(a, b offer) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.legacy, b.legacy)) })
	for d, x := range c.days { // deleting a newer day would raise the floor above it
		if x.sealing {
			days = slices.DeleteFunc(days, func(o offer) bool { return o.isDay() && o.day > d })
		}
	}
	return append(out, days...)
}

// deleteVictim deletes one. A day that goes raises the floor, so that it does
// not come back.
func (c *Compactor) deleteVictim(ctx context.Context, h Head, v victim, cause string) error {
	if v.snapshot != "" {
		err := c.deleteSnapshot(v.snapshot)
		c.noteStuck(filepath.Base(v.snapshot), err)
		if err != nil {
			return err
		}
		c.opts.Observer.Delete(cause)
		level.Info(c.logger).Log("msg", "deleted snapshot", "path", v.snapshot, "cause", cause, "bytes", v.frees)
		return nil
	}
	if v.legacy != "" {
		err := c.opts.Legacy.DeleteLegacy(v.legacy, cause)
		c.noteStuck(stuckLegacy, err)
		return err
	}
	c.logFloor(h, v.day+1)
	fault.Point("retain.floored")
	c.noteDeleted(h, v.day)
	n, err := c.expire(ctx, h, []task.Day{v.day}, cause)
	if n > 0 {
		fault.Point("retain.done")
	}
	return errors.Join(err, c.expireLost(h, v.day+1)) // they would have been the first to go
}
