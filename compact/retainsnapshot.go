package compact

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/tsdb/fault"
)

// SnapshotTime is the name of a snapshot.
const SnapshotTime = "20060102T150405Z"

// snapshotsIn lists the snapshots under a directory, the oldest first: their
// names are times, and what is called otherwise is somebody else's. Under tmp/ are those
// whose deletion has failed. A directory that cannot be listed has none: measure tells.
func snapshotsIn(dir string) (paths []string) {
	dir = filepath.Join(dir, "snapshots")
	entries, err := readDir(dir) // in the order of names
	if err != nil {
		return nil
	}
	for _, e := range entries {
		at, _, _ := strings.Cut(e.Name(), "-") // the second one of a second has a number
		if _, err := time.Parse(SnapshotTime, at); err == nil {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// deleteSnapshot takes a snapshot away as a whole, and then deletes what is in
// it: a part of one under snapshots/ would be taken for a whole one.
func (c *Compactor) deleteSnapshot(dir string) error {
	at := filepath.Join(c.dirs.tmp, "snapshots")
	if filepath.Dir(dir) != at {
		away := filepath.Join(at, filepath.Base(dir))
		err := MkdirAll(at)
		if err == nil {
			err = rename(dir, away)
		}
		switch {
		case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
			// Deleting must not depend on room: it goes where it is.
		case err != nil:
			return err
		default:
			if err := blocks.SyncDir(filepath.Dir(dir)); err != nil {
				return err
			}
			dir = away
		}
	}
	fault.Point("retain.snapshot")
	if err := RemoveAll(dir); err != nil {
		return err
	}
	_ = os.Remove(at) // if it is the last one; else, or if this fails, there is another time
	return nil
}

// sweepSnapshots deletes the snapshots whose deletion has begun, and returns the
// names of those for which it fails.
func (c *Compactor) sweepSnapshots() (failing map[string]bool, err error) {
	var errs []error
	failing = map[string]bool{}
	for _, dir := range snapshotsIn(c.dirs.tmp) {
		err := RemoveAll(dir)
		errs = append(errs, err)
		c.noteStuck(filepath.Base(dir), err)
		if failing[filepath.Base(dir)] = err != nil; err == nil {
			cause := "disk-usage"
			if c.opts.RetentionSize > 0 {
				cause = "size"
			}
			c.opts.Observer.Delete(cause)
			level.Info(c.logger).Log("msg", "deleted snapshot", "path", dir, "cause", "it was being deleted")
		}
	}
	_ = os.Remove(filepath.Join(c.dirs.tmp, "snapshots")) // as in deleteSnapshot
	return failing, errors.Join(errs...)
}

// rename is that of package os.
func rename(from, to string) error {
	if err := fault.Op("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}
