package blocks

import (
	"context"
	"database/sql/driver"
	"errors"

	"daybook/tsdb/task"
)

// legacySideBuild is the one building of the side.
type legacySideBuild struct {
	done chan struct{} // closed at its end
	side *legacySide
	err  error
}

// ready returns the side if it is there.
func (l *Legacy) ready() *legacySide {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.mu.side; b != nil {
		select {
		case <-b.done:
			if b.err == nil {
				return b.side
			}
		default:
		}
	}
	return nil
}

// side returns the side, and builds it first if nobody has. A build outlives
// the query that began it: the next one need not begin again.
func (l *Legacy) side(ctx context.Context) (*legacySide, error) {
	l.mu.Lock()
	b := l.mu.side
	if err := l.life.Err(); err != nil {
		l.mu.Unlock()
		return nil, errLegacyClosed
	}
	if b == nil {
		b = &legacySideBuild{done: make(chan struct{})}
		l.mu.side = b
		l.built.Add(1)
		go func() {
			defer l.built.Done()
			defer close(b.done)
			b.side, b.err = l.buildSide(l.life)
		}()
	}
	l.mu.Unlock()
	select {
	case <-b.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.err != nil {
		l.mu.Lock()
		if l.mu.side == b {
			l.mu.side = nil // the next one tries again
		}
		l.mu.Unlock()
	}
	return b.side, b.err
}

func (l *Legacy) buildSide(ctx context.Context) (*legacySide, error) {
	s := &legacySide{}
	err := l.pool.with(ctx, func(c *conn) error {
		for _, t := range l.tables {
			if err := l.addStrays(ctx, c, t, s); err != nil {
				return err
			}
		}
		return s.finish()
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// addStrays adds the rows of a table that its index by time does not place.
func (l *Legacy) addStrays(ctx context.Context, c *conn, t *legacyTable, s *legacySide) error {
	if t.byTime == "" {
		return l.eachBatch(ctx, c, t, t.allText(), s.add)
	}
	if err := l.eachBatch(ctx, c, t, t.strayText(0, false), s.add); err != nil {
		return err
	}
	for i := 1; i < len(t.strays()); i++ {
		if _, err := l.eachStray(ctx, c, t, s.add, t.strayText(i, false), int64(-1)); err != nil {
			return err
		}
	}
	return nil
}

// eachBatch runs a statement that goes on after a row id until it has no more.
func (l *Legacy) eachBatch(ctx context.Context, c *conn, t *legacyTable, text string, add func(legacyEntry) error) error {
	for after := t.firstRow - 1; ; {
		n := 0
		last, err := l.eachStray(ctx, c, t, func(e legacyEntry) error { return add(e) }, text, after, int64(legacyBatch))
		if n, after = last.n, last.row; err != nil || n < legacyBatch {
			return err
		}
	}
}

// legacyEnd is how far a statement got.
type legacyEnd struct {
	n   int
	row int64
}

// eachStray runs a statement over core columns and passes on the places of the
// rows. A row without a time is looked at in the end, by a statement of its own.
func (l *Legacy) eachStray(ctx context.Context, c *conn, t *legacyTable, add func(legacyEntry) error, text string, args ...driver.Value) (end legacyEnd, err error) {
	var timeless []legacyRow
	place := func(r *legacyRow, at int64) error {
		return add(legacyEntry{at: at, hash: task.HashID(r.id), row: r.rowid, name: legacyNameHash(r.name), table: uint16(t.n), state: r.state})
	}
	err = c.each(ctx, legacyCoreCount, func(vals []driver.Value) error {
		var r legacyRow
		end.n++
		end.row, _ = vals[0].(int64)
		if !r.scan(t, vals) {
			return nil
		}
		if at := r.rowTime(); at != 0 {
			return place(&r, at)
		}
		timeless = append(timeless, r)
		return nil
	}, text, args...)
	for i := 0; i < len(timeless) && err == nil; i++ {
		var at int64
		if at, err = l.dateOf(ctx, c, &timeless[i]); err == nil && at != 0 {
			err = place(&timeless[i], at)
		}
	}
	return end, err
}

// dateOf is the row time of a row that has no time at all: the beginning of
// the day that its table is of, else of the day of the row that was written
// next to it; 0 if no row near it has a time either.
func (l *Legacy) dateOf(ctx context.Context, c *conn, r *legacyRow) (int64, error) {
	if r.table.dated {
		return r.table.day.Start(), nil
	}
	for _, before := range []bool{true, false} {
		var vals [1]driver.Value
		ok, err := c.queryRow(ctx, vals[:], r.table.neighbourText(before), r.rowid, int64(legacyNear))
		if err != nil {
			return 0, err
		}
		if at := legacyMicros(vals[0]); ok && at != 0 {
			return task.DayOf(at).Start(), nil
		}
	}
	return 0, nil
}
