package tsdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// dataDirs are what a daemon makes in a data directory: one of them tells it from
// any other directory.
var dataDirs = []string{"days", "live", "wal"}

// isDataDir wants something to be backed up, and to be readable.
func isDataDir(dir string) error {
	found := false
	for _, sub := range dataDirs {
		_, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the data directory: %w", err)
		}
		found = found || err == nil
	}
	if !found {
		return fmt.Errorf("%s is no data directory: it has neither days/ nor live/ nor wal/", dir)
	}
	return nil
}

// wantData refuses a directory to read from in which nothing is Daybook's: a
// mistyped path, or a place where nothing is mounted, is not to look like a data
// directory that is whole and empty.
func wantData(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(entries, ofData) {
		return errors.New("it is no data directory: there is neither days/ nor live/ nor wal/ in it, and no day file: see whether --storage.path is right, and whether what belongs there is mounted")
	}
	return nil
}

// ofData reports whether an entry is of a data directory. What is wrong with it,
// opening it tells.
func ofData(e fs.DirEntry) bool {
	switch name := e.Name(); name {
	case "legacy", backupMarker: // files that were handed over before the first start; a backup that was killed at once
		return true
	case "LOCK": // a daemon that starts just now; those of other programs are empty
		fi, err := e.Info()
		return err == nil && fi.Size() > 0
	default:
		return slices.Contains(dataDirs, name) || filepath.Ext(name) == ".db" // which may be a day's, without days/ around it
	}
}
