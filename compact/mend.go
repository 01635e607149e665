package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

const (
	// drainAgain is how long deleting again waits for readers.
	drainAgain = 100 * time.Millisecond
	// sumAgain is after how long a checksum is written again: it takes reading
	// the file.
	sumAgain = time.Minute
	// damagedAgain is after how long more a damaged file is checked again.
	damagedAgain = 24 * time.Hour
)

// Mend does again what the disk did not let be done: it deletes what is still
// there, reads id filters, and writes one checksum that is missing. What comes
// of it the Observer is told. Call it every few seconds.
func (c *Compactor) Mend(ctx context.Context) {
	c.opts.Observer.Tried("remove", c.removeDoomed(ctx))
	if c.filtersFailed.Load() {
		c.balanceFilters()
	}
	if missing, err := c.writeChecksum(ctx); err != nil || !missing {
		c.opts.Observer.Tried("checksum", err)
	}
}

// doomed are files that the catalog does not show any more, and that go once
// their readers have left. live or sealed may be nil.
type doomed struct {
	day    task.Day
	live   *blocks.Live
	sealed *blocks.Sealed
	cause  string // why retention deletes the day; empty if the files are replaced
	began  time.Time
	// unlinking is how long removing the files took, once their readers had gone.
	unlinking time.Duration
	failed    time.Time // when deleting it failed first; zero if it has not
}

// isLeaving notes files that are about to be retired. The caller holds mu.
func (c *Compactor) isLeaving(x *doomed) {
	for _, p := range x.paths() {
		c.leaving[p] = true
	}
}

// retire deletes files that a sealed file has replaced. It does not make the
// sealer wait for their readers.
func (c *Compactor) retire(ctx context.Context, x doomed) {
	c.retiring.Add(1)
	go func() {
		defer c.retiring.Done()
		err := c.remove(context.WithoutCancel(ctx), x)
		c.mu.Lock()
		for _, p := range x.paths() {
			delete(c.leaving, p)
		}
		c.mu.Unlock()
		if err != nil {
			c.opts.Observer.Tried("remove", err)
		}
	}()
}

// paths are all that goes with them.
func (x *doomed) paths() (paths []string) {
	if x.sealed != nil {
		paths = append(paths, x.sealed.Path(), x.sealed.Path()+checksumSuffix)
	}
	if x.live != nil {
		for _, side := range []string{"", "-wal", "-shm"} {
			paths = append(paths, x.live.Path()+side)
		}
	}
	return paths
}

// remove waits for readers and deletes. What stays is tried again by Mend, and
// goes at the next start at the latest.
func (c *Compactor) remove(ctx context.Context, x doomed) error {
	if err := c.removeFiles(ctx, &x); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if x.failed.IsZero() {
			x.failed = c.opts.Now()
		}
		c.doomed = append(c.doomed, x)
		return fmt.Errorf("deleting files of %s: %w", x.day, err)
	}
	if x.cause != "" {
		c.opts.Observer.Delete(x.cause)
		level.Info(c.logger).Log("msg", "deleted day", "day", x.day, "cause", x.cause, "took", time.Since(x.began), "unlinking", x.unlinking)
	}
	return nil
}

func (c *Compactor) removeFiles(ctx context.Context, x *doomed) error {
	var errs []error
	unlink := func(remove func() error) error {
		began := time.Now()
		defer func() { x.unlinking += time.Since(began) }()
		return remove()
	}
	if x.sealed != nil {
		err := c.drained(ctx, x.sealed.Path())
		if err == nil {
			fault.Point("sealed.drained")
			err = errors.Join(x.sealed.Close(), unlink(func() error { return blocks.RemoveSealed(x.sealed.Path()) }))
		}
		errs = append(errs, err)
	}
	if x.live != nil {
		err := c.drained(ctx, x.live.Path())
		if err == nil {
			err = x.live.Close()
			fault.Point("live.closed")
			err = errors.Join(err, unlink(x.live.Remove))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeDoomed tries again what remove left.
func (c *Compactor) removeDoomed(ctx context.Context) error {
	c.removing.Lock()
	defer c.removing.Unlock()
	c.mu.Lock()
	left := c.doomed
	c.doomed = nil
	c.mu.Unlock()
	var errs []error
	for _, x := range left {
		ctx, cancel := context.WithTimeout(ctx, drainAgain)
		errs = append(errs, c.remove(ctx, x))
		cancel()
	}
	return errors.Join(errs...)
}

// unsummed is a sealed file without a checksum.
type unsummed struct {
	next  time.Time // when it is its turn
	whole bool      // the file is checked
	err   error     // why it has none yet
}

// needsChecksum notes a sealed file that has no checksum.
func (c *Compactor) needsChecksum(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsummed[path] = &unsummed{}
}

// noteUnsummed notes a file that is opened if it has no checksum: a crash came
// before it was written, or somebody copied the file without it.
func (c *Compactor) noteUnsummed(path string) {
	if _, err := os.Lstat(path + ".sha256"); errors.Is(err, os.ErrNotExist) {
		c.needsChecksum(path)
	}
}

// writeChecksum checks one sealed file that has no checksum, and writes it: what
// is damaged already must not be declared whole. missing tells that files are
// left that are to be tried later; the error says why.
func (c *Compactor) writeChecksum(ctx context.Context) (missing bool, err error) {
	now := c.opts.Now()
	c.mu.Lock()
	used := map[string]bool{}
	for _, x := range c.days {
		if x.sealed != nil {
			used[x.sealed.Path()] = true
		}
	}
	maps.DeleteFunc(c.unsummed, func(path string, _ *unsummed) bool { return !used[path] })
	path, u := "", (*unsummed)(nil)
	for _, p := range slices.Sorted(maps.Keys(c.unsummed)) {
		if x := c.unsummed[p]; !now.Before(x.next) {
			path, u = p, x
			break
		}
	}
	c.mu.Unlock()
	if u != nil {
		u.next = now.Add(sumAgain)
		u.err = c.checkAndSum(ctx, path, u)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if u != nil && u.err == nil {
		delete(c.unsummed, path)
	}
	var errs []error
	for _, p := range slices.Sorted(maps.Keys(c.unsummed)) {
		if x := c.unsummed[p]; x.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Base(p), x.err))
		}
	}
	if u == nil { // nothing was tried
		return len(c.unsummed) > 0, nil
	}
	return len(c.unsummed) > 0, errors.Join(errs...)
}

// checkAndSum is only called by Mend.
func (c *Compactor) checkAndSum(ctx context.Context, path string, u *unsummed) error {
	if !u.whole {
		found, err := blocks.CheckFile(ctx, path, true)
		if err != nil {
			return err
		}
		for _, f := range found {
			if !f.Note {
				u.next = u.next.Add(damagedAgain)
				return fmt.Errorf("and is damaged, so that none is written: %s", f.Problem)
			}
		}
		u.whole = true
	}
	// A reader: the checksum of a file that goes meanwhile would stay behind.
	view := c.opts.Catalog.View()
	defer view.Release()
	for _, f := range view.Days() {
		if f.Sealed == nil || f.Sealed.Path() != path {
			continue
		}
		if err := blocks.WriteChecksum(path, c.dirs.tmp); err != nil {
			return err
		}
		level.Info(c.logger).Log("msg", "checked a sealed day that had no checksum, and wrote it", "day", f.Day)
	}
	return nil
}
