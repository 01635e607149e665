package compact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-kit/log/level"

	"daybook/blocks"
)

// tmpNames are the patterns of all that Daybook and SQLite make in the tmp/ of a data
// directory. A directory of this name may have been there before, with what is somebody
// else's.
var tmpNames = []string{
	"seal-????-??-??.*.db*", "seal-*.sort", "*.db.sha256.[0-9]*", // days
	"legacy-rollups.[0-9]*.db*", "shared.[0-9]*", // rollups of legacy files
	"reserve", "snapshot-[0-9]*",
	"etilqs_*", // SQLite's own
}

// backupNames are those in the tmp/ of a backup, which can be served: others call
// things so, too.
var backupNames = []string{"backup", "old-live", "old-wal", "BACKUP"}

// OursInTmp reports whether something in the tmp/ of a data directory, or of one that is
// a backup, may be what a crash has left of Daybook's.
func OursInTmp(name string, backup bool) bool {
	return slices.ContainsFunc(tmpNames, func(pattern string) bool {
		ok, err := filepath.Match(pattern, name)
		return ok && err == nil
	}) || backup && slices.Contains(backupNames, name)
}

// sweepTmp removes everything unfinished. What cannot be removed is in nobody's
// way: it is told, and no reason not to start.
func (c *Compactor) sweepTmp() {
	entries, err := os.ReadDir(c.dirs.tmp)
	errs := []error{err}
	var others []string
	backup := exists(filepath.Join(c.dirs.root, "BACKUP"))
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "snapshots": // below: RetainSpace goes on with them
		case OursInTmp(name, backup):
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
