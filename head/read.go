package head

import (
	"context"
	"fmt"

	"daybook/head/wal"
	"daybook/tsdb/task"
)

// ReadLog builds a head from a log directory that a daemon may be writing,
// without changing anything and without caps. Its entries are unresolved. It
// is for reading only: it has no log. Records that cannot be understood are
// passed over; VerifyLog reports them. It also returns the size of the log in bytes.
func ReadLog(dir string, o Options, known func(cut uint64, day task.Day) bool) (*Head, int64, error) {
	o.MaxRecords, o.MaxBytes = 1<<62, 1<<62
	h := New(nil, o)
	var u unpacker
	_, err := wal.Read(dir, h.reset, func(b []byte) error {
		return u.understood(b, func(rec *record) error {
			return h.replayRecord(context.Background(), rec, Replaying{Known: known})
		}, func() {})
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading the log: %w", err)
	}
	size, err := wal.Size(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the log: %w", err)
	}
	return h, size, nil
}

// VerifyLog is wal.Verify, which reports also records that Replay would not
// understand.
func VerifyLog(dir string) ([]wal.Finding, error) {
	var u unpacker
	return wal.Verify(dir, func(b []byte) error {
		return u.understood(b, func(*record) error { return nil }, func() {})
	})
}

// IsLog reports whether a file is a piece of a log, by what it begins with.
func IsLog(path string) bool { return wal.IsPiece(path) }

// SeeCuts makes sure that no cut gets an id that is in a log, as CutSeen does. A
// cut in the middle of a replay needs it: with the id of a record that comes
// later, of a cut that was never stored, it would have that record taken for done.
func (h *Head) SeeCuts(dir string) error {
	_, err := wal.Read(dir, func() {}, func(b []byte) error {
		if len(b) == 0 || b[0] != kindCut && b[0] != kindState {
			return nil
		}
		switch rec, err := decodeRecord(b); {
		case err != nil: // replayed, it will be reported
		case rec.kind == kindCut:
			h.CutSeen(rec.cut)
		case rec.kind == kindState:
			h.CutSeen(rec.cut - 1)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking for the cuts in the log: %w", err)
	}
	return nil
}

// reset empties the head, to start reading anew.
func (h *Head) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byID, h.slots, h.rows = map[string]*entry{}, nil, Rows{}
	h.open, h.done = list{}, list{}
	h.stored, h.parked = map[*entry]struct{}{}, 0
	h.bytes, h.gaps = 0, task.GapSet{}
}
