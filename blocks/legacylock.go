package blocks

import (
	"os"
	"runtime"
	"syscall"
)

// SQLite's locks on a database file are POSIX locks on these bytes. Whoever
// has a WAL-mode file open holds a read lock on the shared ones.
const (
	pendingByte = 0x40000000
	sharedFirst = pendingByte + 2
	sharedSize  = 510
)

// Locks of an open file description see those of the own process too, and are
// not dropped when another descriptor of the file is closed. Linux only.
const (
	linuxGetLock = 36 // F_OFD_GETLK
	linuxSetLock = 37 // F_OFD_SETLK
)

// openElsewhere reports whether a program has the database open through
// SQLite, and its process id if the system tells (0 or less if not). The last
// of the shared bytes is left out: hold takes that one, and a Daybook beside
// this one is no danger.
func openElsewhere(f *os.File) (pid int, open bool) {
	ask := syscall.Flock_t{Type: syscall.F_WRLCK, Start: pendingByte, Len: 2 + sharedSize - 1}
	if legacyFcntl(f, linuxGetLock, syscall.F_GETLK, &ask) != nil {
		return 0, false // a file system without locks
	}
	return int(ask.Pid), ask.Type != syscall.F_UNLCK
}

// holdLegacy keeps other programs from believing that they are the last to close the
// file. Without it nothing is wrong: the change is noticed.
func holdLegacy(f *os.File) {
	_ = legacyFcntl(f, linuxSetLock, syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_RDLCK, Start: sharedFirst + sharedSize - 1, Len: 1})
}

// legacyFcntl tries the call of open file descriptions, then that of processes.
func legacyFcntl(f *os.File, linux, posix int, lock *syscall.Flock_t) error {
	if runtime.GOOS == "linux" {
		try := *lock
		if err := syscall.FcntlFlock(f.Fd(), linux, &try); err == nil {
			*lock = try
			return nil
		}
	}
	return syscall.FcntlFlock(f.Fd(), posix, lock)
}
