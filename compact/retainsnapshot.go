package compact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"daybook/tsdb/fault"
)

// snapshotsIn lists the snapshots under a directory, the oldest first: their
// names are times. Under tmp/ are those whose deletion has failed.
func snapshotsIn(dir string) []string {
	found, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
	if err != nil {
		return nil
	}
	slices.Sort(found)
	return found
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
			if err := SyncDir(filepath.Dir(dir)); err != nil {
				return err
			}
			dir = away
		}
	}
	fault.Point("retain.snapshot")
	if err := RemoveAll(dir); err != nil {
		return err
	}
	err := os.Remove(at)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil // it went where it was, or others wait to be tried again
	}
	return err
}

// rename is that of package os.
func rename(from, to string) error {
	if err := fault.Op("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}
