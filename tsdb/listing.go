package tsdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
		inHead.Rows += p.Rows()
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

func (db *DB) logBytes() int64 {
	if db.wal != nil {
		return db.wal.Bytes()
	}
	return 0
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

// Dump calls fn for every invocation of days (YYYY-MM-DD) or day files (a
// path), in ascending order within each, each id once. What is not cut yet
// belongs to the day of its row time.
func (db *DB) Dump(ctx context.Context, targets []string, q Query, fn func(*task.Invocation) error) error {
	if err := db.usable(); err != nil {
		return err
	}
	for _, target := range targets {
		if err := db.dump(ctx, target, q, fn); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) dump(ctx context.Context, target string, q Query, fn func(*task.Invocation) error) error {
	q.Oldest = true
	each := func(v *task.Invocation) (bool, error) { return true, fn(v) }
	d, err := task.ParseDay(target)
	if err != nil {
		return db.dumpFile(ctx, target, q, each)
	}
	if !db.hasDay(d) {
		return fmt.Errorf("there is no day %s here: daybook ls shows the days", d)
	}
	q.From, q.To = max(q.From, d.Start()), d.End()
	unreadable, err := db.walk(ctx, q, 0, each)
	if err == nil && len(unreadable) > 0 {
		err = fmt.Errorf("%s could not be read: daybook verify says more", strings.Join(unreadable, ", "))
	}
	return err
}

// hasDay reports whether anything is known of a day.
func (db *DB) hasDay(d task.Day) bool {
	view := db.catalog.View()
	defer view.Release()
	for _, f := range view.Days() {
		if f.Day == d {
			return true
		}
	}
	for _, v := range db.head.Snapshot().Invs {
		if v.Day() == d {
			return true
		}
	}
	files, done := db.legacy.use()
	defer done()
	return slices.ContainsFunc(files, func(f *legacyFile) bool { return f.oldest < d.End() && f.newest >= d.Start() })
}

// dumpFile dumps one sealed file, wherever it is.
func (db *DB) dumpFile(ctx context.Context, path string, q Query, fn func(*task.Invocation) (bool, error)) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%s is neither a day (YYYY-MM-DD; daybook ls shows them) nor a file: %w", path, err)
	}
	s, err := blocks.OpenSealed(path)
	if err != nil {
		l, legacyErr := blocks.OpenLegacy(path)
		if legacyErr != nil {
			return err
		}
		defer l.Close()
		return l.Select(ctx, blocks.Select{Filter: &q.Filter, Oldest: true, Details: q.Details}, fn)
	}
	defer s.Close()
	catalog := blocks.NewCatalog(db.pool)
	catalog.Edit(func(days map[task.Day]blocks.DayFiles) { days[s.Day()] = blocks.DayFiles{Day: s.Day(), Sealed: s} })
	view := catalog.View()
	defer view.Release()
	err = view.Select(ctx, blocks.Select{Filter: &q.Filter, Oldest: true, Details: q.Details}, fn)
	if un := view.Unreadable(); err == nil && len(un) > 0 {
		err = fmt.Errorf("%s could not be read: daybook verify %s says more", path, path)
	}
	return err
}
