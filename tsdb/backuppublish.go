package tsdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"daybook/blocks"
	"daybook/compact"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// publish makes what is staged the backup. There is no way to rename three
// directories at once; a mark says that it is under way, and doing it again
// from the beginning is right at any point.
func (d *dest) publish(stage string, k *compact.Capture, o BackupOptions, res *BackupResult) error {
	if err := d.flag(); err != nil {
		return err
	}
	fault.Point("backup.flagged")
	if d.served {
		res.SetAside = asideName("served-until-", o)
	}
	for _, sub := range []string{"live", "wal"} {
		if err := d.swap(filepath.Join(stage, sub), sub, res.SetAside); err != nil {
			return err
		}
		fault.Point("backup.swapped")
	}
	for _, sub := range []string{"days", "legacy"} {
		if err := d.moveIn(filepath.Join(stage, sub), sub, o, res); err != nil {
			return err
		}
	}
	// A note of what a daemon had attached elsewhere, as older backups have it.
	if err := compact.RemoveAll(d.path(attachedName)); err != nil {
		return err
	}
	fault.Point("backup.moved")
	if err := d.tidy(k, o, res); err != nil {
		return err
	}
	fault.Point("backup.tidied")
	if err := writeCopiedLock(d.path("LOCK"), o.Now()); err != nil {
		return err
	}
	d.served = false
	if err := d.unflag(); err != nil {
		return err
	}
	fault.Point("backup.whole")
	if err := d.mark(o.Now()); err != nil {
		return err
	}
	fault.Point("backup.marked")
	return d.sweep()
}

// swap puts a staged directory in the place of the one that is there.
func (d *dest) swap(staged, sub, aside string) error {
	old := d.path("tmp", "old-"+sub)
	if aside != "" {
		if err := compact.MkdirAll(d.path(aside)); err != nil {
			return err
		}
		old = d.path(aside, sub)
	} else if err := compact.RemoveAll(old); err != nil {
		return err
	}
	if err := rename(d.path(sub), old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fault.Point("backup.swapping")
	if err := rename(staged, d.path(sub)); err != nil {
		return err
	}
	return blocks.SyncDir(d.dir)
}

// asideName is where something is set aside now.
func asideName(why string, o BackupOptions) string {
	return filepath.Join("quarantine", why+o.Now().UTC().Format("20060102T150405Z"))
}

// moveIn gives staged files their names: the database, then its checksum. One
// that is in the way is damaged or, if a daemon has had the directory or the
// source has made the day anew, set aside.
func (d *dest) moveIn(staged, sub string, o BackupOptions, res *BackupResult) error {
	entries, err := readDir(staged)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := compact.MkdirAll(d.path(sub)); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) // x.db before x.db.sha256
	for _, e := range entries {
		to := d.path(sub, e.Name())
		var err error
		switch {
		case d.remade[to]:
			err = d.setDayAside(to, o, res)
		case d.served && exists(to):
			err = d.setAside(to, res.SetAside)
		}
		if err != nil {
			return err
		}
		// Two names of one file are not renamed onto each other: see rename(2).
		if sameFile(filepath.Join(staged, e.Name()), to) {
			continue
		}
		if err := rename(filepath.Join(staged, e.Name()), to); err != nil {
			return err
		}
		fault.Point("backup.moving")
	}
	return blocks.SyncDir(d.path(sub))
}

// setDayAside sets a sealed day aside with its checksum, the file first: who
// finds it without would replace it.
func (d *dest) setDayAside(path string, o BackupOptions, res *BackupResult) error {
	if res.SetAside == "" {
		res.SetAside = asideName("replaced-", o)
	}
	for _, p := range []string{path, path + ".sha256"} {
		if exists(p) {
			if err := d.setAside(p, res.SetAside); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dest) setAside(path, aside string) error {
	rel, err := filepath.Rel(d.dir, path)
	if err != nil {
		return err
	}
	to := d.path(aside, rel)
	if err := compact.MkdirAll(filepath.Dir(to)); err != nil {
		return err
	}
	for n := 2; exists(to); n++ { // of a backup in the same second
		to = fmt.Sprintf("%s.%d", d.path(aside, rel), n)
	}
	return rename(path, to)
}

// rename is that of package os.
func rename(from, to string) error {
	if err := fault.Op("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// tidy removes the generations that newer ones have replaced, and with prune
// the days that the source has no longer, not even in quarantine. Those that are newer than the source's,
// and older ones that the source's has nothing of, are set aside.
func (d *dest) tidy(k *compact.Capture, o BackupOptions, res *BackupResult) error {
	entries, err := readDir(d.path("days"))
	if err != nil {
		return err
	}
	prune := o.Prune
	if err := k.AsideErr(); prune && err != nil {
		prune = false
		res.Problems = append(res.Problems, fmt.Errorf("which days lie in quarantine/ is not known, so that nothing is pruned: %w", err))
	}
	current := k.Days()
	gone := map[task.Day]bool{}
	for _, e := range entries {
		day, gen, ok := blocks.ParseSealedName(e.Name())
		if !ok {
			continue
		}
		path := d.path("days", e.Name())
		name, have := current[day]
		_, wanted, _ := blocks.ParseSealedName(name)
		replaced := false
		if have && gen < wanted {
			if replaced, err = d.replaces(name, e.Name()); err != nil {
				return fmt.Errorf("looking for what %s replaces: %w", name, err)
			}
		}
		switch {
		case !have && !k.Has(day):
			gone[day] = true
			if prune {
				err = blocks.RemoveSealed(path)
			}
		case replaced:
			err = blocks.RemoveSealed(path)
		case have && gen != wanted:
			// A daemon that had the backup has sealed it again; or the source has
			// lost this one, and an older one was put back there, or what came
			// later made a day of its own.
			err = d.setDayAside(path, o, res)
		}
		if err != nil {
			return fmt.Errorf("removing %s from the backup: %w", e.Name(), err)
		}
	}
	days := make([]task.Day, 0, len(gone))
	for day := range gone {
		days = append(days, day)
	}
	slices.Sort(days)
	if prune {
		res.Pruned = dayText(days)
	} else {
		res.Kept = dayText(days)
	}
	return nil
}

// replaces reports whether a sealed file of the backup says that it has what
// another one has.
func (d *dest) replaces(name, other string) (bool, error) {
	s, err := blocks.OpenSealed(d.path("days", name))
	if err != nil {
		return false, err
	}
	return s.Replaces(other), s.Close()
}

// sweep empties tmp of what is Daybook's.
func (d *dest) sweep() error {
	entries, err := readDir(d.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !compact.OursInTmp(e.Name(), true) {
			continue
		}
		if err := compact.RemoveAll(d.path("tmp", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	fa, errA := os.Lstat(a)
	fb, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// links is how many names a file has.
func links(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

// readDir, readFile and remove are those of package os.
func readDir(dir string) ([]fs.DirEntry, error) {
	if err := fault.Op("readdir", dir); err != nil {
		return nil, err
	}
	return os.ReadDir(dir)
}

func readFile(path string) ([]byte, error) {
	if err := fault.Op("open", path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func remove(path string) error {
	if err := fault.Op("remove", path); err != nil {
		return err
	}
	return os.Remove(path)
}
