package tsdb

import (
	"errors"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// Errors by consequence.
var (
	// ErrNotReady is returned while the log is being replayed: try again.
	ErrNotReady = errors.New("the log is being replayed")
	// ErrNotFound is returned for what nothing is known of: see NotFoundError.
	ErrNotFound = errors.New("no such invocation")
	// ErrOverloaded is returned by Append when the head is full and
	// OnOverflow is OverflowReject: nothing of the call was stored; try later.
	ErrOverloaded = errors.New("the head is full")
	// ErrStalled is returned by Append when the disk does not answer. Records
	// of the call may be stored once it does; sent again, they are stored once.
	ErrStalled = errors.New("the disk does not answer")
	// ErrTooLarge is returned by Append for a request that cannot be stored
	// whole even by an empty head, when OnOverflow is OverflowReject: split it.
	ErrTooLarge = errors.New("the request is larger than the head")
	// ErrReadOnly is returned by every call that would change a DB from OpenReadOnly.
	ErrReadOnly = errors.New("the data directory is served read-only")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the database is closed")
	// ErrLocked is returned by Open when another daemon holds the directory.
	ErrLocked = errors.New("the data directory is in use by another daemon")
)

// NotFoundError is the ErrNotFound of Get and Workflow. It may be known to a
// file that could not be read, or have been lost or deleted: Coverage tells.
type NotFoundError struct{ Coverage Coverage }

func (e *NotFoundError) Error() string { return ErrNotFound.Error() }

// Is makes it an ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// Record is one thing to Append.
type Record struct {
	task.Invocation
	// NoTime says that the record came without any time (task.ErrNoTime): it
	// is refused unless its task_id is known, and then takes that one's time.
	NoTime bool
}

// Appended says what became of the records of one Append, by index. Records
// in neither list were stored.
type Appended struct {
	Refused []Refusal // refused for what they say: too old, too far ahead, unknown and timeless
	Dropped int       // records of this call that the overflow policy dropped
}

// Refusal is one refused record.
type Refusal struct {
	Index int
	Err   error
}

// Query selects invocations.
type Query struct {
	task.Filter
	Text    *text.Query // words that have to be in it; nil does not restrict
	Oldest  bool        // ascending order; default is newest first
	After   *task.Key   // continue behind this place of the order
	Limit   int         // at least 1; the API has a maximum
	Details bool        // with args, kwargs, result, exception_message, traceback
}

// Page is one answer to a Query, in order.
type Page struct {
	Invocations []task.Invocation
	Next        *task.Key // where the next page continues; nil at the end
	Complete    bool      // false if the query's time ran out before the page was full
	Coverage    Coverage
}

// Coverage says which part of the asked range an answer speaks of.
type Coverage struct {
	From, To      int64 // microseconds; 0 if not bounded
	RetentionFrom int64 // rows before this have been deleted by age; 0 if none ever are
	Complete      bool
	Gaps          []Gap    // by start; at most maxGapsTold, then neighbours are taken together
	Unreadable    []string // names of files that could not be read
	// Inexact: some invocations may be counted or shown twice or not at all, as
	// rows moved while the answer was made and the head could not wait, or as it
	// is not known under which name a row that was replaced was counted.
	Inexact bool
}

// Gap is a stretch of time of which invocations are missing.
type Gap = task.Gap

// BlockKind is the kind of a block.
type BlockKind string

// The kinds of blocks.
const (
	KindHead   BlockKind = "head"
	KindLive   BlockKind = "live"
	KindDay    BlockKind = "day"
	KindLegacy BlockKind = "legacy"
)

// BlockInfo describes one block for listings.
type BlockInfo struct {
	Kind       BlockKind
	Day        string // YYYY-MM-DD; empty for head and legacy
	Path       string // relative to the data directory
	Generation int
	Rows       int64
	RowsExact  bool
	Bytes      int64 // physical
	Oldest     int64 // row times, microseconds; 0 if empty
	Newest     int64
	Gaps       int // that are kept here; one that grew may be in two blocks
}

// Health is a snapshot of how the DB is doing.
type Health struct {
	Reasons       []string // why it is degraded; empty when it is well
	CanStore      bool
	HeadRecords   int64
	HeadBytes     int64
	Rows          int64 // everywhere
	RowsExact     bool
	Oldest        int64   // oldest row time, microseconds; 0 if none
	DroppedTotal  int64   // records dropped as the head was full, since Open
	RejectedTotal int64   // records refused one by one, since Open
	WALBytes      int64   // of the log
	DiskUsagePct  float64 // of the file system of Dir: 0 to 100
	DiskFreeBytes int64   // there, for an ordinary user
}

// Progress tells how far the replay of the log has come.
type Progress struct {
	Ready       bool
	Done, Total int64 // bytes of the log
}

// CutResult says what an explicit cut wrote.
type CutResult struct {
	Rows int64
	Days []string // YYYY-MM-DD, ascending
}

// OverflowPolicy is what happens when the head is full and cutting cannot keep up.
type OverflowPolicy string

// The overflow policies.
const (
	OverflowDropOldest OverflowPolicy = "drop-oldest"
	OverflowReject     OverflowPolicy = "reject"
)
