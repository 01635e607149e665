package tsdb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"daybook/blocks"
	"daybook/compact"
	"daybook/tsdb/fault"
)

const (
	// backupMarker is the file that makes a directory a backup.
	backupMarker = "BACKUP"
	// markCompleted begins the line of the marker that says when.
	markCompleted = "completed: "
)

// copiedLock is what the LOCK file of a copy says, where a daemon writes its
// number. Its time is that of the copy: a daemon that is started on it takes
// it as when the clock was last seen, and reports the time since as a gap.
const copiedLock = "a copy\n"

func writeCopiedLock(path string, at time.Time) error {
	if err := fault.Op("create", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(fault.Writer(f, path), copiedLock)
	if err := errors.Join(err, f.Close(), fault.Op("chtimes", path)); err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

// checkBackup refuses directories between which no backup is possible. It
// changes nothing.
func checkBackup(dir, dest string) error {
	if dir == "" || dest == "" {
		return errors.New("the data directory and the destination must not be empty")
	}
	src, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the data directory: %w", err)
	}
	if err := isDataDir(dir); err != nil {
		return err
	}
	if err := outside(dest, dir, src); err != nil {
		return err
	}
	if fi, err := os.Stat(dest); err == nil {
		if err := outside(dir, dest, fi); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the destination: %w", err)
	}
	if exists(filepath.Join(dest, backupMarker)) {
		return sameSource(dir, dest)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("%s is not empty and no backup (there is no %s in it): choose another directory", dest, backupMarker)
		}
	}
	return nil
}

// outside wants a path, which need not exist, not to be in a directory, be it
// by way of links.
func outside(path, dir string, fi fs.FileInfo) error {
	at, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for { // the part of it that exists, without links
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			at = real
			break
		}
		if at == filepath.Dir(at) || !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for %s: %w", path, err)
		}
		at = filepath.Dir(at)
	}
	for ; ; at = filepath.Dir(at) {
		other, err := os.Stat(at)
		if err != nil {
			return err
		}
		if os.SameFile(fi, other) {
			return fmt.Errorf("%s is inside %s: a backup must be outside of what it saves", path, dir)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// dest is a directory that is or becomes a backup, locked.
type dest struct {
	dir    string
	source string
	lock   *dirLock
	// served says that a daemon has had the directory since the last backup:
	// what is in it is not only ours.
	served bool
	// ours says that the backup is of the directory at this very path.
	ours bool
	// remade are the days, by their paths here, that the source has made anew
	// under the same name.
	remade map[string]bool
	logged func() // for tests: called when the log is copied and the files are not
}

// openDest locks the destination against daemons and other backups.
func openDest(dir, source string) (d *dest, err error) {
	d = &dest{dir: dir, source: source, remade: map[string]bool{}}
	if err := d.create(); err != nil {
		return nil, fmt.Errorf("creating the destination: %w", err)
	}
	if d.lock, err = flockDir(dir); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("a daemon serves it, or another backup is being made")
		}
		return nil, fmt.Errorf("locking the destination %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.lock.release())
		}
	}()
	told, err := readFile(d.path("LOCK"))
	if err != nil {
		return d, err
	}
	d.served = len(told) > 0 && string(told) != copiedLock
	if d.ours, err = isSource(source, dir); err != nil {
		return d, err
	}
	text, err := readFile(d.path(backupMarker))
	if err != nil || strings.Contains(string(text), markCompleted) {
		return d, err
	}
	return d, errors.Join(d.flag(), d.mark(time.Time{}))
}

// create makes the directories. The marker is the first thing in a new one, so
// that a backup that is killed now can be made again.
func (d *dest) create() error {
	if err := compact.MkdirAll(d.dir); err != nil {
		return err
	}
	if err := fault.Op("create", d.path(backupMarker)); err != nil {
		return err
	}
	marker, err := os.OpenFile(d.path(backupMarker), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(marker.Close(), compact.MkdirAll(d.path("days")), compact.MkdirAll(d.path("tmp")))
}

func (d *dest) path(elem ...string) string {
	return filepath.Join(append([]string{d.dir}, elem...)...)
}

func (d *dest) close() error { return d.lock.release() }

// stage makes an empty directory for what is to be published.
func (d *dest) stage() (string, error) {
	stage := d.path("tmp", "backup")
	if err := compact.RemoveAll(stage); err != nil {
		return "", err
	}
	return stage, compact.MkdirAll(stage)
}

// flag marks the directory as not whole.
func (d *dest) flag() error {
	if err := fault.Op("create", d.path("days", compact.UnfinishedBackup)); err != nil {
		return err
	}
	f, err := os.OpenFile(d.path("days", compact.UnfinishedBackup), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), blocks.SyncDir(d.path("days")))
}

func (d *dest) unflag() error {
	return errors.Join(compact.RemoveAll(d.path("days", compact.UnfinishedBackup)), blocks.SyncDir(d.path("days")))
}

// mark writes the file that makes the directory a backup.
func (d *dest) mark(completed time.Time) error {
	source, err := filepath.Abs(d.source)
	if err != nil {
		return err
	}
	when := "never completed"
	if !completed.IsZero() {
		when = markCompleted + completed.UTC().Format(time.RFC3339)
	}
	tmp := d.path("tmp", backupMarker)
	text := fmt.Sprintf("This directory is a backup that `daybook backup` made. It is a data directory: to restore, copy it and serve the copy.\n%s%q\n%s\n", markSource, source, when)
	if err := fault.Op("create", tmp); err != nil {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(fault.Writer(f, tmp), text)
	if err := errors.Join(err, fault.Op("sync", tmp), f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(rename(tmp, d.path(backupMarker)), blocks.SyncDir(d.dir))
}

// has reports whether the backup has a file of the data directory already. An
// error says that it has another one of that name, and no business with it.
func (d *dest) has(f compact.Found) (bool, error) {
	path := d.path(f.Path)
	fi, err := os.Lstat(path)
	if err != nil {
		return false, nil // publishing meets what is wrong
	}
	same := os.SameFile(fi, f.Info)
	if countDay(f.Path) == 0 {
		return same || fi.Size() == f.Info.Size() && fi.ModTime().Equal(f.Info.ModTime()), nil
	}
	text, err := readFile(path + ".sha256")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !blocks.Lasting(err) {
		return false, err // what is there may be worth keeping
	}
	sum, _, _ := strings.Cut(string(text), " ")
	switch {
	case same:
		return sum == f.Sum, nil // not that of another one, which was here before
	case err != nil || f.Sum == "":
		return false, nil
	case sum == f.Sum:
		return fi.Size() == f.Info.Size(), nil
	case d.served:
		return false, nil // a daemon has sealed it anew
	}
	if _, err := blocks.OpenSealed(path); err != nil {
		return false, nil // damaged: it is replaced
	}
	if d.ours {
		d.remade[path], err = sharesDay(d.source, d.dir)
		if d.remade[path] || err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("%s has another %s than %s: it is the backup of another data directory (if it is not, and this day was made anew: "+
		"move that file and its .sha256 out of %s)", d.dir, f.Path, d.source, filepath.Dir(path))
}
