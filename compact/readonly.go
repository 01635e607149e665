package compact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-kit/log"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// OpenReadOnly fills the catalog from a directory without changing anything in
// it: one that a daemon is using, a restored backup, or nothing but copied day
// files. What a repair would remove is passed over.
func OpenReadOnly(o Options) (c *Compactor, err error) {
	o.defaults()
	c = &Compactor{opts: o, act: newTurn(), pausing: newTurn(), logger: log.With(o.Logger, "component", "compact"), dirs: dirsOf(o.Dir), days: map[task.Day]*day{}, highest: map[task.Day]int{}, leftover: map[task.Day]string{}, shut: map[task.Day]string{}, leaving: map[string]bool{}, unsummed: map[string]*unsummed{}, unreadable: map[string]error{}, hidden: map[string]bool{}, readOnly: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	if _, err := os.Stat(o.Dir); err != nil {
		return c, err
	}
	if err := c.openSealed(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, err
	}
	if err := c.openLive(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, err
	}
	if len(c.days) == 0 && c.parked == nil {
		err = c.openLooseDays()
	} else {
		err = c.tellLooseDays()
	}
	if err != nil {
		return c, err
	}
	c.publishAll()
	return c, nil
}

// Listing is what a directory shows of its files. When it is the same before
// and after the log was read, the two belong together.
func Listing(dir string) (string, error) {
	var b strings.Builder
	for _, sub := range []string{"live", "days"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".db") {
				fmt.Fprintln(&b, sub, e.Name())
			}
		}
	}
	return b.String(), nil
}

// openLiveFile opens a live file as this Compactor may.
func (c *Compactor) openLiveFile(path string) (*blocks.Live, error) {
	if c.readOnly {
		return blocks.OpenLiveReadOnly(path)
	}
	return blocks.OpenLive(path)
}

// removeUnused deletes a live file that nothing is lost with; a read-only
// Compactor only closes it.
func (c *Compactor) removeUnused(l *blocks.Live) error {
	if c.readOnly {
		return l.Close()
	}
	return errors.Join(l.Close(), l.Remove())
}
