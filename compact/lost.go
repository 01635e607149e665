package compact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// errLost is why a sealed file is left out that is not there.
var errLost = &AdvisedError{"the file is gone, but its .sha256 is there: Daybook deletes that one first", "put the file back, from a backup say, while no daemon runs; delete the .sha256 if the day is not missed"}

// lostDays names the sealed files that somebody else than Daybook has taken away:
// a checksum is written after its file is there, and deleted before that goes. dir
// has the entries, and may be in use. A newer generation has what the older ones
// had; and what lies in quarantine is not lost: a crash may have left its checksum
// where it was.
func lostDays(root, dir string, entries []fs.DirEntry) (lost []string) {
	newest := map[task.Day]int{}
	for _, e := range entries {
		if d, gen, ok := blocks.ParseSealedName(e.Name()); ok {
			newest[d] = max(newest[d], gen)
		}
	}
	for _, e := range entries {
		name, _ := strings.CutSuffix(e.Name(), checksumSuffix)
		d, gen, ok := blocks.ParseSealedName(name)
		// Now, and in this order: a daemon may have published or deleted it meanwhile.
		if path := filepath.Join(dir, name); ok && gen > newest[d] && gone(path) && exists(path+checksumSuffix) {
			lost = append(lost, name)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	aside, _ := quarantined(root) // what cannot be read, Open tells
	return slices.DeleteFunc(lost, func(name string) bool { return aside[name] })
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// quarantined are the names of the sealed files that were set aside, here or by a
// backup, without what was put behind them to keep them apart. The error is about
// places that could not be looked into.
func quarantined(root string) (names map[string]bool, err error) {
	names = map[string]bool{}
	var errs []error
	// The separator has a symbolic link followed.
	dir := filepath.Join(root, "quarantine") + string(filepath.Separator)
	walkErr := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		base, rest, ok := strings.Cut(filepath.Base(path), ".db")
		if _, _, is := blocks.ParseSealedName(base + ".db"); ok && is && rest != checksumSuffix {
			names[base+".db"] = true
		}
		if e != nil && e.IsDir() && e.Name() == "live" { // their names look the same
			return fs.SkipDir
		}
		return nil
	})
	return names, errors.Join(append(errs, walkErr)...)
}
