package compact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// errLost is why a sealed file is left out that is not there.
var errLost = &AdvisedError{"the file is gone, but its .sha256 is there: Daybook deletes that one first", "put the file back, from a backup say, while no daemon runs; delete the .sha256 if the day is not missed"}

// LostDay reports whether a file that Unreadable names is a sealed one that is gone,
// and of which day it was. Of no other file the name alone says what it holds.
func LostDay(name string, err error) (task.Day, bool) {
	d, _, ok := blocks.ParseSealedName(filepath.Base(name))
	return d, ok && errors.Is(err, errLost)
}

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

// expireLost lets go of the lost days below a floor as if their files were there: the
// checksum goes, and nothing is told of them any more. A file that was put back
// meanwhile stays: the next start opens it, and retention deletes it then.
func (c *Compactor) expireLost(h Head, floor task.Day) error {
	floor = min(floor, task.DayOf(c.opts.Now().UnixMicro()))
	c.mu.Lock()
	lost := map[string]task.Day{}
	for rel, err := range c.unreadable {
		if d, is := LostDay(rel, err); is && d < floor {
			lost[rel] = d
		}
	}
	c.mu.Unlock()
	var errs []error
	for rel, d := range lost {
		path := filepath.Join(c.dirs.root, rel)
		if !gone(path) {
			continue
		}
		c.noteDeleted(h, d)
		if err := removeIfThere(path + checksumSuffix); err != nil {
			errs = append(errs, err)
			continue
		}
		c.forgetLost(rel, d)
		level.Info(c.logger).Log("msg", "a day whose file was lost has expired", "path", rel)
	}
	return errors.Join(errs...)
}

// forgetLost makes a lost file one that never was. Another one of its day may be
// left out, too, and keep the day from being sealed.
func (c *Compactor) forgetLost(rel string, d task.Day) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unreadable, rel)
	if c.shut[d] != filepath.Base(rel) {
		return
	}
	delete(c.shut, d)
	for other := range c.unreadable {
		name := filepath.Base(other)
		if of, _, ok := blocks.ParseSealedName(name); ok && of == d {
			c.shut[d] = name
		}
	}
}
