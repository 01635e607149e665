package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned when the log is used after Close.
	ErrClosed = errors.New("wal: log is closed")
	// ErrNotReplayed is returned when records are written before Replay has succeeded: only
	// Replay knows where the log ends.
	ErrNotReplayed = errors.New("wal: log is not replayed yet")
	// ErrReplayed is returned by a second Replay of the same Log.
	ErrReplayed = errors.New("wal: log is replayed already")
	// ErrNotUnderstood is what the callers of Replay, Read and Verify return, wrapped, for a record
	// that is whole and means nothing to them. It ends nothing: the record is passed over and is
	// a finding, and its file is a damaged one, which is kept.
	ErrNotUnderstood = errors.New("a record that is not understood, of a newer daybook perhaps")
	// ErrTooLarge is returned for a record of more than MaxRecordBytes.
	ErrTooLarge = errors.New("wal: record is too large")
)

// A CorruptionError says which bytes of a file could not be understood. The frames before and
// after them were used. It is a finding, not a failure: see ReplayStats.Corruptions.
type CorruptionError struct {
	File   string // path
	Offset int64  // of the first damaged byte
	Length int64  // bytes up to the next intact frame, or to where the file should have ended
	Reason string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("wal: %s is damaged at byte %d (%d bytes): %s", e.File, e.Offset, e.Length, e.Reason)
}

// A RemoveError is what Options.OnError is told when a file that is not needed any more stays. It is
// in nobody's way.
type RemoveError struct{ Err error }

func (e *RemoveError) Error() string { return "wal: removing: " + e.Err.Error() }
func (e *RemoveError) Unwrap() error { return e.Err }

// A VersionError is returned by Open, Replay and Read when a file was written by a newer version
// of the format. Nothing in the directory has been changed then.
type VersionError struct {
	File      string // path
	Version   uint32 // found
	Supported uint32 // newest one this build reads
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("wal: %s has format version %d, this build reads up to %d: use a newer daybook",
		e.File, e.Version, e.Supported)
}
