package blocks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// ErrForeign is in the error of a file that is no legacy file at all.
var ErrForeign = errors.New("not a database of Phlower's")

// LegacyError is returned for a legacy file that cannot be read safely, or not
// at all. Nothing was changed.
type LegacyError struct {
	Path   string
	Reason string
	Remedy string // the command that mends it, or what to do
	Err    error  // the cause, if there is one
}

func (e *LegacyError) Error() string {
	if e.Remedy == "" {
		return fmt.Sprintf("legacy file %s: %s", e.Path, e.Reason)
	}
	return fmt.Sprintf("legacy file %s: %s; %s", e.Path, e.Reason, e.Remedy)
}

func (e *LegacyError) Unwrap() error { return e.Err }

// legacyError gives an error of reading a legacy file its type, unless the
// reader was interrupted.
func legacyError(ctx context.Context, path string, err error) error {
	if err == nil {
		return nil
	}
	var typed *LegacyError
	if errors.As(err, &typed) || errors.Is(err, errLegacyClosed) {
		return err
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("reading %s: %w", path, cause)
	}
	e := &LegacyError{Path: path, Reason: "it cannot be read: " + err.Error(), Err: err}
	var se sqlite3.Error
	if !errors.As(err, &se) {
		return e
	}
	switch se.Code {
	case sqlite3.ErrNotADB:
		return notSQLite(path)
	case sqlite3.ErrCorrupt:
		e.Reason = "it is damaged: " + err.Error()
		e.Remedy = legacyRecover(path)
	case sqlite3.ErrCantOpen, sqlite3.ErrReadonly, sqlite3.ErrPerm:
		e.Remedy = "let this user read it: chmod a+r " + legacyQuote(path) + " " + legacyQuote(path+"-wal")
	case sqlite3.ErrFull, sqlite3.ErrIoErr:
		e.Remedy = "see that the disk is well and that the directory for temporary files (SQLITE_TMPDIR) has room"
	}
	return e
}

// LegacyPassing reports whether an error of reading a legacy file says nothing of
// what is in it, and is over when its reader has more time, or others let go of
// descriptors or memory. Of a disk that fails it is not known: who waits for one
// might wait for ever.
func LegacyPassing(err error) bool {
	scarce := []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}
	var se sqlite3.Error
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return true
	case slices.ContainsFunc(scarce, func(e syscall.Errno) bool { return errors.Is(err, e) }):
		return true
	case !errors.As(err, &se):
		return false
	}
	switch se.Code {
	case sqlite3.ErrNomem, sqlite3.ErrBusy, sqlite3.ErrLocked:
		return true
	case sqlite3.ErrCantOpen, sqlite3.ErrIoErr:
		return slices.Contains(scarce, se.SystemErrno) || se.ExtendedCode == sqlite3.ErrIoErrNoMem
	}
	return false
}

// legacyRecover is the command that saves what can be read of a damaged file.
func legacyRecover(path string) string {
	return "save what can be read, and attach that instead: sqlite3 " + legacyQuote(path) + " .recover | sqlite3 " + legacyQuote(path+".recovered")
}

func notSQLite(path string) error {
	return &LegacyError{Path: path, Reason: "it is not a SQLite database", Remedy: "check the path given to --storage.legacy", Err: ErrForeign}
}

// notPhlower refuses a database of something else.
func notPhlower(path, format string, args ...any) error {
	return &LegacyError{Path: path, Reason: "it is not a Phlower database: " + fmt.Sprintf(format, args...), Remedy: "check the path given to --storage.legacy", Err: ErrForeign}
}

// legacySettle is the command that makes SQLite finish what a crash has left in the
// -journal or the -wal: opening the file for writing and reading it does.
func legacySettle(path string) string {
	return "sqlite3 " + legacyQuote(path) + " 'PRAGMA wal_checkpoint(TRUNCATE); SELECT count(*) FROM sqlite_master'"
}

// legacyQuote writes a path so that a shell reads it as one word.
func legacyQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
