package blocks

import (
	"fmt"
	"os"
	"path/filepath"
)

// The errors below say what is wrong with a file, by what is to be done about
// it. None of them comes with a change to the file.

// VersionError is returned for a Daybook file of a format that is newer than
// this program: it is left alone, and read by a newer Daybook.
type VersionError struct {
	Path    string
	Version int // of the file
	Known   int // the newest that is understood here
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: format version %d is newer than %d: read it with a newer Daybook", e.Path, e.Version, e.Known)
}

// ForeignError is returned for a file that is not what its place and name say
// it is: not SQLite, not Daybook's, or another day's.
type ForeignError struct {
	Path   string
	Reason string
}

func (e *ForeignError) Error() string { return e.Path + ": " + e.Reason }

// UnsafeError is returned for a sealed file that cannot be opened without
// risk, because something beside it says that it is still being written.
type UnsafeError struct {
	Path   string
	Beside string // the file that is in the way
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("%s: %s is beside it, so it is not a finished day file", e.Path, e.Beside)
}

// Advice says what to do. It reads the file: one that is what its checksum says is
// finished, and what lies beside it is not its.
func (e *UnsafeError) Advice() string {
	if want, ok := readChecksum(e.Path); ok {
		if got, err := fileSum(e.Path); err == nil && got == want {
			return fmt.Sprintf("if nobody has it open, move %s away: the day file itself is what its %s says", e.Beside, checksumSuffix)
		}
	}
	return "if it is still being written, wait; else move both to quarantine/, and restore the file from a backup"
}

// readChecksum reads the .sha256 beside a file.
func readChecksum(path string) (sum string, ok bool) {
	text, err := os.ReadFile(path + checksumSuffix)
	if err != nil {
		return "", false
	}
	return parseChecksum(text, filepath.Base(path))
}

// DamagedError is returned for a Daybook file that cannot be read.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Err) }
func (e *DamagedError) Unwrap() error { return e.Err }
