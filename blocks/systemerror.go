package blocks

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// SystemRemedy is what an owner can do where the system did not let a file be read:
// the error says nothing of the file. It is empty for every other error.
func SystemRemedy(err error) string {
	var se sqlite3.Error
	isSQLite := errors.As(err, &se)
	is := func(errnos ...syscall.Errno) bool {
		for _, errno := range errnos {
			if se.SystemErrno == errno || errors.Is(err, errno) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "" // SQLite says that of a -shm that it cannot make, too
	case NoRoom(err):
		return "make room on the disk, then look again: nothing is known to be wrong with the file"
	case Exhausted(err):
		return "raise the limit of open files (ulimit -n), or leave the program more memory, then look again: nothing is known to be wrong with the file"
	case is(syscall.EACCES, syscall.EPERM):
		return "look again as the user that the files belong to, or give this one the right to read them"
	case is(syscall.EIO):
		return "the disk does not give it back: see what the kernel's log says, and restore the file from a backup if it stays so"
	case isSQLite && (is(syscall.EROFS) || se.Code == sqlite3.ErrCantOpen || se.Code == sqlite3.ErrReadonly):
		return "SQLite has to write beside it, as its -wal is there: copy the whole directory to where that can be, and look again there"
	case isSQLite && (se.Code == sqlite3.ErrIoErr || se.Code == sqlite3.ErrPerm):
		return "the system did not let SQLite read it: see what the kernel's log says, then look again"
	}
	return ""
}
