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

// dirLock is the flock on a data directory's LOCK file. The file's
// modification time is when the clock was last seen here.
type dirLock struct {
	f        *os.File
	lastSeen time.Time // zero for a new directory
}

func lockDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "LOCK")
	if err := fault.Op("create", path); err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	l := &dirLock{f: f}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%s: %w%s: stop it first, or give this one another --storage.path", dir, ErrLocked, holder(path))
		} else {
			err = fmt.Errorf("locking %s: %w", path, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() > 0 {
		l.lastSeen = fi.ModTime()
	}
	if err == nil {
		_, err = fmt.Fprintf(fault.Writer(io.NewOffsetWriter(f, 0), path), "%-20d\n", os.Getpid())
	}
	if err == nil && !l.lastSeen.IsZero() {
		// Whoever is killed before it is ready has not noted how long nobody ran.
		// Who does not own the file may not, and starts all the same.
		_ = os.Chtimes(path, l.lastSeen, l.lastSeen)
	}
	// A full disk is no reason not to start: the number is a courtesy.
	if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", path, err), f.Close())
	}
	return l, nil
}

// holder says who has the lock, if the file tells.
func holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [20]byte // what lockDir writes; the rest is anybody's
	n, _ := io.ReadFull(f, b[:])
	pid, err := strconv.ParseUint(strings.TrimRight(string(b[:n]), " \n"), 10, 63)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

func (l *dirLock) release() error { return l.f.Close() }
