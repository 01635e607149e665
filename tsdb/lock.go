package tsdb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"daybook/tsdb/fault"
)

// dirLock keeps others out of a data directory. The modification time of its LOCK
// file is when the clock was last seen here.
type dirLock struct {
	home, f  *os.File  // the directory and LOCK, both open and locked
	lastSeen time.Time // zero for a new directory
}

// flockDir takes the locks of a directory, both or none: one on the directory itself,
// then one on its LOCK file, which is made. LOCK may be removed or replaced while it is held,
// by a restore into the directory of a daemon that runs; the directory stays the same.
// LOCK is all that older versions look at, and some file systems lock no directories.
// If somebody else has one of them the error is EWOULDBLOCK.
func flockDir(dir string) (l *dirLock, err error) {
	l = &dirLock{}
	defer func() {
		if err != nil {
			l, err = nil, errors.Join(err, l.release())
		}
	}()
	if l.home, err = os.Open(dir); err != nil {
		return l, err
	}
	if err := flock(l.home, syscall.LOCK_EX); errors.Is(err, syscall.EWOULDBLOCK) {
		return l, err
	}
	path := filepath.Join(dir, "LOCK")
	if err := fault.Op("create", path); err != nil {
		return l, err
	}
	if l.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return l, err
	}
	if err := flock(l.f, syscall.LOCK_EX); err != nil {
		return l, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return l, nil
}

// flock does not wait.
func flock(f *os.File, how int) error { return syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB) }

func lockDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "LOCK")
	l, err := flockDir(dir)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w%s: stop it first, or give this one another --storage.path", dir, ErrLocked, holder(path))
	}
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	fi, err := l.f.Stat()
	if err == nil && fi.Size() > 0 {
		l.lastSeen = fi.ModTime()
	}
	if err == nil {
		_, err = fmt.Fprintf(fault.Writer(io.NewOffsetWriter(l.f, 0), path), "%-20d\n", os.Getpid())
	}
	if err == nil && !l.lastSeen.IsZero() {
		// Whoever is killed before it is ready has not noted how long nobody ran.
		// Who does not own the file may not, and starts all the same.
		_ = os.Chtimes(path, l.lastSeen, l.lastSeen)
	}
	// A full disk is no reason not to start: the number is a courtesy.
	if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", path, err), l.release())
	}
	return l, nil
}

// holder says who has the lock, if the file tells: one that nobody has locked was put
// there since, and tells of others.
func holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if flock(f, syscall.LOCK_SH) == nil {
		return ""
	}
	var b [20]byte // what lockDir writes; the rest is anybody's
	n, _ := io.ReadFull(f, b[:])
	pid, err := strconv.ParseUint(strings.TrimRight(string(b[:n]), " \n"), 10, 63)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// check tells if LOCK is not the file that is locked any more.
func (l *dirLock) check() error {
	held, err := l.f.Stat()
	if err != nil {
		return err
	}
	now, err := os.Lstat(l.f.Name())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s was removed while this daemon runs", l.f.Name())
	case err == nil && !os.SameFile(held, now):
		return fmt.Errorf("%s was replaced while this daemon runs", l.f.Name())
	}
	return err
}

func (l *dirLock) release() error {
	var errs []error
	for _, f := range []*os.File{l.f, l.home} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
