package compact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-kit/log/level"

	"daybook/blocks"
)

// tmpNames are the patterns of all that Daybook and SQLite make in tmp/. A directory of
// this name may have been there before, with what is somebody else's.
var tmpNames = []string{
	"seal-????-??-??.*.db*", "seal-*.sort", "*.db.sha256.*", // days
	"legacy-rollups.*.db*", "shared.*", // rollups of legacy files
	"reserve", "snapshot-[0-9]*", "snapshots",
	"backup", "old-live", "old-wal", "BACKUP", // of a backup, which can be served
	"etilqs_*", // SQLite's own
}

// OursInTmp reports whether something in tmp/ may be what a crash has left of Daybook's.
func OursInTmp(name string) bool {
	for _, pattern := range tmpNames {
		if ok, err := filepath.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// sweepTmp removes everything unfinished. What cannot be removed is in nobody's
// way: it is told, and no reason not to start.
func (c *Compactor) sweepTmp() {
	entries, err := os.ReadDir(c.dirs.tmp)
	errs := []error{err}
	var others []string
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "snapshots": // below: RetainSpace goes on with them
		case OursInTmp(name):
			errs = append(errs, RemoveAll(filepath.Join(c.dirs.tmp, name)))
		default:
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		level.Warn(c.logger).Log("msg", "tmp/ of the data directory has what Daybook has not made: it is left alone", "path", c.dirs.tmp, "first", others[0], "number", len(others))
	}
	if err := errors.Join(errs...); err != nil {
		c.opts.Observer.Tried("open", fmt.Errorf("emptying tmp/: %w", err))
	}
	if _, err := c.sweepSnapshots(); err != nil {
		c.opts.Observer.Tried("retention-space", fmt.Errorf("deleting the rest of a snapshot: %w", err))
	}
}

// unfinishedLive reports whether something in live/ is a file that was being created.
func unfinishedLive(name string) bool {
	base, _, ok := strings.Cut(name, ".tmp")
	if !ok {
		return false
	}
	_, parked := blocks.ParseParkedName(base)
	_, _, day := blocks.ParseLiveName(base)
	return parked || day
}
