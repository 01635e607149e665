package tsdb

import (
	"context"
	"iter"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// legacySource is one legacy file's rows in a walk, pulled one by one.
type legacySource struct {
	next func() (*task.Invocation, bool)
	stop func()
	row  *task.Invocation // the next; nil at the end, and before it is opened
	open bool
	edge int64  // row time that no row of it comes before, in the query's direction
	name string // of the file
	err  error
}

// openLegacySources prepares to read the legacy files that overlap with a query.
// hidden says which ids something newer is known of.
func (db *DB) openLegacySources(ctx context.Context, files []*legacyFile, q *Query, hidden func(id string) bool) []*legacySource {
	var out []*legacySource
	for i, f := range files {
		if s := db.openLegacySource(ctx, f, files[:i], q, hidden); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// openLegacySource prepares to read one file; nil if it does not overlap.
// What newer files know is hidden, too.
func (db *DB) openLegacySource(ctx context.Context, f *legacyFile, newer []*legacyFile, q *Query, hidden func(id string) bool) *legacySource {
	if q.Open || q.OpenBefore != 0 || f.newest < q.From || q.To != 0 && f.oldest >= q.To {
		return nil
	}
	s := &legacySource{name: f.Name(), edge: f.newest + legacySlack}
	if q.Oldest {
		s.edge = f.oldest - legacySlack
	}
	sel := blocks.Select{Filter: &q.Filter, Oldest: q.Oldest, After: q.After, Limit: 0, Details: q.Details || q.Text != nil,
		Skip: func(id string, _ uint64) bool {
			if hidden(id) {
				return true
			}
			known, err := db.knownTo(ctx, newer, id)
			return known && err == nil
		}}
	rows := func(yield func(*task.Invocation) bool) {
		s.err = f.Select(ctx, sel, func(v *task.Invocation) (bool, error) {
			// Of what was read when the time ran out it is not known whether it is hidden.
			if err := ctx.Err(); err != nil {
				return false, err
			}
			row := *v
			return yield(&row), nil
		})
		db.legacyRead(f, s.err)
	}
	s.next, s.stop = iter.Pull(iter.Seq[*task.Invocation](rows))
	return s
}

// legacySlack is for row times that a legacy file has as floating point.
const legacySlack = 1_000_000

// reach opens the file if a row of it may come before row, nil being the end:
// its first match may be far away, and a page that is full before need not know.
func (s *legacySource) reach(row *task.Key, oldest bool) {
	if !s.open && (row == nil || oldest && s.edge <= row.At || !oldest && s.edge >= row.At) {
		s.advance()
	}
}

func (s *legacySource) advance() {
	s.open = true
	row, ok := s.next()
	if !ok {
		row = nil
	}
	s.row = row
}

// failed names the files that could not be read to the end. Whether it was the
// reader's time that ran out the caller knows.
func failed(sources []*legacySource) []string {
	var names []string
	for _, s := range sources {
		if s.err != nil {
			names = append(names, s.name)
		}
	}
	return names
}

// inDays reports whether a day holds a row of an id: what is known there is
// newer than, or merged from, what a legacy file says.
func inDays(ctx context.Context, view *blocks.View, id string) bool {
	rows, err := view.Lookup(ctx, []string{id})
	return err == nil && len(rows) > 0
}

// isParked reports whether an id is parked: the same, in a state that may not be
// asked for.
func isParked(ctx context.Context, parked *blocks.Parked, id string) bool {
	if parked == nil || parked.Rows() == 0 {
		return false
	}
	found, err := parked.Find(ctx, []string{id})
	return err == nil && len(found) > 0
}
