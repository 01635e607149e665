package tsdb

import (
	"context"
	"path/filepath"
	"slices"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// Blocks lists the head and the files, newest first. A day with late rows
// shows a day and a live block.
func (db *DB) Blocks(ctx context.Context) ([]BlockInfo, error) {
	if err := db.usable(); err != nil {
		return nil, err
	}
	return db.blocks(), nil
}

func (db *DB) blocks() []BlockInfo {
	view := db.catalog.View()
	defer view.Release()
	st := db.head.Stats()
	inHead := BlockInfo{Kind: KindHead, Path: "wal", Rows: st.Records, RowsExact: true, Bytes: db.logBytes(), Oldest: st.Oldest, Newest: st.Newest, Gaps: len(db.headGaps())}
	if p := db.compact.Parked(); p != nil {
		inHead.Rows += max(0, p.Rows()-st.Parked)
		inHead.Bytes += p.Bytes()
	}
	out := []BlockInfo{inHead}
	for _, f := range view.Days() {
		if l := f.Live; l != nil && (l.Rows() > 0 || len(l.Gaps()) > 0 || f.Sealed == nil) {
			oldest, newest := l.Bounds()
			out = append(out, BlockInfo{Kind: KindLive, Day: f.Day.String(), Path: filepath.Join("live", l.Name()), Generation: l.Seq(),
				Rows: l.Rows(), RowsExact: true, Bytes: l.Bytes(), Oldest: oldest, Newest: newest, Gaps: len(l.Gaps())})
		}
		if s := f.Sealed; s != nil {
			oldest, newest := s.Bounds()
			out = append(out, BlockInfo{Kind: KindDay, Day: f.Day.String(), Path: filepath.Join("days", s.Name()), Generation: s.Generation(),
				Rows: s.Rows(), RowsExact: true, Bytes: s.Bytes(), Oldest: oldest, Newest: newest, Gaps: len(s.Gaps())})
		}
	}
	files, done := db.legacy.use()
	defer done()
	for _, f := range files {
		n, exact := f.Rows()
		out = append(out, BlockInfo{Kind: KindLegacy, Path: f.Path(), Rows: n, RowsExact: exact, Bytes: f.Bytes(), Oldest: f.oldest, Newest: f.newest})
	}
	return out
}

// logBytes is the size of the log; for who only reads, when it was read.
func (db *DB) logBytes() int64 {
	if db.wal != nil {
		return db.wal.Bytes()
	}
	return db.logRead
}

// oldestOf is the oldest row time of a day's files; 0 if they are empty.
func oldestOf(f blocks.DayFiles) int64 {
	var at int64
	if f.Live != nil {
		at, _ = f.Live.Bounds()
	}
	if f.Sealed != nil {
		if o, _ := f.Sealed.Bounds(); o != 0 && (at == 0 || o < at) {
			at = o
		}
	}
	return at
}

// hasDay reports whether anything is known of a day.
func (db *DB) hasDay(ctx context.Context, d task.Day) bool {
	view := db.catalog.View()
	defer view.Release()
	for _, f := range view.Days() {
		if f.Day == d {
			return true
		}
	}
	snap := db.head.Snapshot()
	for at := range snap.All() {
		if task.DayOf(at) == d {
			return true
		}
	}
	if p := db.compact.Parked(); p != nil {
		if has, err := p.HasBetween(ctx, d.Start(), d.End()); has || err != nil {
			return true // whoever reads it is told
		}
	}
	files, done := db.legacy.use()
	defer done()
	return slices.ContainsFunc(files, func(f *legacyFile) bool { return f.oldest < d.End() && f.newest >= d.Start() })
}
