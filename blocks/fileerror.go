package blocks

import "fmt"

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

// DamagedError is returned for a Daybook file that cannot be read.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Err) }
func (e *DamagedError) Unwrap() error { return e.Err }
