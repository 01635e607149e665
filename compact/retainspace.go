package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-kit/log/level"

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
	swept := c.sweepSnapshots()
	err := c.removeDoomed(ctx)
	if err = errors.Join(swept, err); c.expiring() || swept != nil {
		return 0, err // no other day goes for want of what this one would free
	}
	n, over, err := c.retainSize(ctx, h)
	if err != nil {
		return n, err
	}
	freed, full, err := c.retainDisk(ctx, h)
	c.mu.Lock()
	c.pressure = cmp.Or(over, full)
	c.mu.Unlock()
	return n + freed, err
}

// Pressure says what is over its limit although everything that may be deleted
// has been; empty if nothing is.
func (c *Compactor) Pressure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pressure
}

func (c *Compactor) retainSize(ctx context.Context, h Head) (n int, over string, err error) {
	if c.opts.RetentionSize == 0 {
		return 0, "", nil
	}
	for ctx.Err() == nil {
		s, err := measure(c.dirs.root)
		if err != nil {
			return n, "", err
		}
		excess := s.total - c.opts.RetentionSize
		if excess <= 0 {
			return n, "", nil
		}
		chosen, _ := planSpace(excess, c.victims(s))
		if len(chosen) == 0 {
			return n, fmt.Sprintf("the data directory has %d bytes, more than --retention.size, and nothing in it is older than today", s.total), nil
		}
		if err := c.deleteVictim(ctx, h, chosen[0], "size"); err != nil {
			return n, "", err
		}
		n++
	}
	return n, "", ctx.Err()
}

// retainDisk deletes one victim after the other, but none before the file
// system shows that the last one has gone.
func (c *Compactor) retainDisk(ctx context.Context, h Head) (n int, full string, err error) {
	if c.opts.DiskUsage == 0 {
		return 0, "", nil
	}
	for ctx.Err() == nil {
		d, err := diskOf(c.dirs.root)
		if err != nil {
			return n, "", err
		}
		excess := diskExcess(d, c.opts.DiskUsage)
		if excess == 0 {
			return n, "", nil
		}
		s, err := measure(c.dirs.root)
		if err != nil {
			return n, "", err
		}
		if c.notShownYet(d.used - s.total) {
			return n, "", nil
		}
		chosen, enough := planSpace(excess, c.victims(s))
		if !enough {
			return n, fmt.Sprintf("the file system is %.0f %% full and deleting past days would not bring it under %.0f %%: make room, or lower --retention.time", 100*float64(d.used)/float64(d.size), c.opts.DiskUsage), nil
		}
		c.mu.Lock()
		if chosen[0].frees > 0 { // a snapshot may hold nothing but other names
			c.pending = &pendingFree{others: d.used - s.total, frees: chosen[0].frees, at: c.opts.Now()}
		}
		c.mu.Unlock()
		if err := c.deleteVictim(ctx, h, chosen[0], "disk-usage"); err != nil {
			return n, "", err
		}
		n++
	}
	return n, "", ctx.Err()
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
func (c *Compactor) victims(s space) []victim {
	return price(c.offer(s), s.freeing())
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
		if err := c.deleteSnapshot(v.snapshot); err != nil {
			return err
		}
		c.opts.Observer.Delete(cause)
		level.Info(c.logger).Log("msg", "deleted snapshot", "path", v.snapshot, "cause", cause, "bytes", v.frees)
		return nil
	}
	if v.legacy != "" {
		return c.opts.Legacy.DeleteLegacy(v.legacy, cause)
	}
	if err := h.LogFloor(v.day + 1); err != nil {
		level.Warn(c.logger).Log("msg", "the retention floor is not in the log", "err", err)
	}
	c.noteDeleted(h, v.day)
	_, err := c.expire(ctx, v.day, cause)
	return err
}
