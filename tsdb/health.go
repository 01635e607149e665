package tsdb

import (
	"fmt"
	"os"
	"time"

	"daybook/blocks"
)

// FilterBytes is the memory of the id filters that are resident.
func (db *DB) FilterBytes() int64 { return db.compact.FilterBytes() }

// Health looks at the DB and its disk.
func (db *DB) Health() Health {
	h := Health{CanStore: true, RowsExact: true, DroppedTotal: db.dropped.Load(), RejectedTotal: db.rejected.Load()}
	reason := func(format string, args ...any) { h.Reasons = append(h.Reasons, fmt.Sprintf(format, args...)) }
	h.Reasons, h.CanStore = db.failureReasons()
	if !db.ready.Load() {
		h.CanStore = false
		reason("the log is being replayed")
	}
	for name, err := range db.compact.Unreadable() {
		reason("%s cannot be read: %v", name, err)
	}
	h.Reasons = append(h.Reasons, db.unreadReasons()...)
	h.Reasons = append(h.Reasons, db.legacyReasons()...)
	for path, err := range db.legacyErrors {
		reason("%s is left out: %v", path, err)
	}
	if until := db.compact.Paused(); !until.IsZero() {
		reason("the clock has jumped, or no daemon ran here: deletion by age and giving up are paused until %s", until.UTC().Format(time.RFC3339))
	}
	if floor, wrong := db.head.WrongFloor(); wrong && !db.readOnly {
		reason("the retention floor, %s, lies in the future, where a clock that was wrong has put it: it does not count, and is taken back when the clock has gone on without a jump for an hour", floor)
	}
	if p := db.compact.Pressure(); p != "" {
		reason("%s", p)
	}
	if r := db.stuckReason(); r != "" {
		reason("%s", r)
	}
	if r := db.stallReason(); r != "" {
		h.CanStore = false
		reason("%s", r)
	}
	full, refuses := db.diskReasons()
	h.Reasons = append(h.Reasons, full...)
	h.CanStore = h.CanStore && !refuses
	if db.ready.Load() && !db.closed.Load() {
		st := db.head.Stats()
		// What the head holds of an id stands for all that is stored of it.
		h.HeadRecords, h.HeadBytes, h.Rows, h.Oldest = st.Records, st.Bytes+st.Inflight, st.Records-st.Stored, st.Oldest
		view := db.catalog.View()
		defer view.Release()
		rows, exact := view.Rows()
		h.Rows, h.RowsExact = max(0, h.Rows+rows), exact && !st.Moving
		if p := db.compact.Parked(); p != nil {
			h.Rows += max(0, p.Rows()-st.Parked)
		}
		files, done := db.legacy.use()
		defer done()
		for _, f := range files {
			n, _ := f.Rows()
			h.Rows, h.RowsExact = h.Rows+n, false
			if f.oldest != 0 && (h.Oldest == 0 || f.oldest < h.Oldest) {
				h.Oldest = f.oldest
			}
		}
		for _, f := range view.Days() {
			if at := oldestOf(f); at != 0 && (h.Oldest == 0 || at < h.Oldest) {
				h.Oldest = at
			}
		}
	}
	h.WALBytes = db.logBytes()
	space, err := blocks.DiskSpaceOf(db.opts.Dir)
	if err == nil && space.Total > 0 {
		h.DiskFreeBytes = space.Free
		h.DiskUsagePct = 100 * float64(space.Used) / float64(space.Used+space.Free)
	} else if err != nil && !os.IsNotExist(err) {
		reason("the file system cannot be asked: %v", err)
	}
	return h
}
