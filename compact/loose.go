package compact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"daybook/blocks"
)

// Loose day files lie in a directory itself, without days/ around them, as
// `cp -r data/days` makes it. Who only reads shows them. A daemon would make a data
// directory around them and show what is in that: nothing.

// openLooseDays takes a directory that holds day files itself.
func (c *Compactor) openLooseDays() error {
	entries, err := os.ReadDir(c.dirs.root)
	loose := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".db" })
	if err != nil || !loose {
		return err
	}
	c.dirs.days = c.dirs.root
	return c.openSealed()
}

// RefuseLooseDays returns an error that says what to do for such a directory. Ask it
// before anything in there is changed: a daemon is not to start on it.
func RefuseLooseDays(dir string) error {
	days := dirsOf(dir).days
	if _, err := os.Lstat(days); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	loose, err := looseDays(dir)
	if len(loose) > 0 {
		err = fmt.Errorf("%s holds day files itself (%s): put them and their .sha256 into %s, or serve it with --storage.read-only", dir, loose[0], days)
	}
	return err
}

// tellLooseDays names those beside what is shown: earlier programs made a data
// directory around them.
func (c *Compactor) tellLooseDays() error {
	loose, err := looseDays(c.dirs.root)
	for _, name := range loose {
		c.leaveOut(filepath.Join(c.dirs.root, name), &AdvisedError{"a day file outside of days/ is not shown", "put it and its .sha256 into days/ while no daemon runs"})
	}
	return err
}

// looseDays names the day files in a directory itself.
func looseDays(dir string) (names []string, err error) {
	entries, err := readDir(dir)
	for _, e := range entries {
		if _, _, is := blocks.ParseSealedName(e.Name()); is && e.Type().IsRegular() && blocks.IsOurs(filepath.Join(dir, e.Name())) {
			names = append(names, e.Name())
		}
	}
	return names, err
}
