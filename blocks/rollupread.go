package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// RollupQuery says which rollups are wanted.
type RollupQuery struct {
	From, To int64        // microseconds, half-open, multiples of Width
	Width    rollup.Width // Hour; or Minute, which only days without a sealed file have
	// Whole lets whole sealed days be answered by one rollup of the day.
	Whole bool
	Name  string // of one task; "" is all
}

// RollupPart is one stored rollup.
type RollupPart struct {
	Name string // rollup.Other for the names that are not counted apart
	At   int64  // its first microsecond
	Gone bool   // to be subtracted once all parts are added
	Data []byte // encoded; valid until the function returns
}

// VisibleCuts tells which cuts the rollups of a live file count.
type VisibleCuts struct {
	Day  task.Day
	cuts cutSet
}

// Has reports whether a cut is counted.
func (v *VisibleCuts) Has(cut uint64) bool { return v.cuts.has(cut) }

// Last is the greatest cut that is counted, 0 if none is.
func (v *VisibleCuts) Last() uint64 { return v.cuts.last() }

// Rollups calls fn for the stored rollups of a range, and returns which cuts
// the live files among them count. Files that cannot be read, or of which fn
// returns an error, are left out and named by Unreadable: what fn was given is
// void then. The files after them are read all the same, so that the next
// attempt, of a view that leaves them all out, is the last.
func (v *View) Rollups(ctx context.Context, q RollupQuery, fn func(RollupPart) error) ([]VisibleCuts, error) {
	var seen []VisibleCuts
	var void error
	for _, d := range v.gen.days {
		if q.To <= d.Day.Start() || q.From >= d.Day.End() {
			continue
		}
		for {
			left, ok := v.readable(d)
			if !ok {
				break
			}
			cuts, err := v.dayRollups(ctx, left, d.Sealed != left.Sealed, q, fn)
			if err == nil {
				if left.Live != nil {
					seen = append(seen, VisibleCuts{d.Day, cuts})
				}
				break
			}
			if !v.leaveOut(err) {
				return nil, err
			}
			void = errors.Join(void, err)
		}
	}
	if void != nil {
		return nil, fmt.Errorf("%w: %w", ErrPartial, void)
	}
	return seen, nil
}

// ErrPartial is returned by Rollups when a file failed in the middle, whose
// parts may have been handed over: begin again with empty sums, in this view or
// in one that was told to leave out what this one has LeftOut.
var ErrPartial = fmt.Errorf("a file failed while its rollups were read")

// dayRollups reads one day in one transaction. bare says that the sealed file
// which the live one lies over is left out.
func (v *View) dayRollups(ctx context.Context, d DayFiles, bare bool, q RollupQuery, fn func(RollupPart) error) (cuts cutSet, err error) {
	pool := v.catalog.pool
	s, err := pool.acquire(ctx, d.attachments()...)
	if err != nil {
		return nil, err
	}
	defer func() { pool.release(s, err) }()
	if err = s.begin(); err != nil {
		return nil, err
	}
	whole := q.Whole && q.From <= d.Day.Start() && q.To >= d.Day.End()
	if d.Live != nil {
		schema := s.schema(d.Live.Path())
		cuts, err = loadCuts(ctx, s.c, schema)
		switch {
		case err != nil:
		case bare:
			err = countRows(ctx, s.c, schema, d.Day, q, fn)
		default:
			err = readRollups(ctx, s.c, schema, q, q.Width, fn)
		}
		if err != nil {
			return nil, blame(ctx, d.Live.Path(), err)
		}
	}
	if d.Sealed != nil {
		width := q.Width
		if whole {
			width = rollup.Day
		}
		err = readRollups(ctx, s.c, s.schema(d.Sealed.Path()), q, width, onlyAdded(fn))
		if err != nil {
			return nil, blame(ctx, d.Sealed.Path(), err)
		}
	}
	return cuts, nil
}

// onlyAdded is fn for a file that nothing ever leaves.
func onlyAdded(fn func(RollupPart) error) func(RollupPart) error {
	return func(p RollupPart) error {
		if p.Gone {
			return fmt.Errorf("a rollup of what is gone: %w", errRow)
		}
		return fn(p)
	}
}

// countRows calls fn for the rollups of the rows of a live file. Its stored ones
// tell what is gone of both files of its day, which cannot be taken out of one.
func countRows(ctx context.Context, c *conn, schema string, day task.Day, q RollupQuery, fn func(RollupPart) error) error {
	set := rollup.NewSet(q.Width, rollup.DefaultLimits)
	err := c.each(ctx, columnCount, func(vals []driver.Value) error {
		var v task.Invocation
		if _, _, _, err := decodeRow(vals, day, &v); err != nil {
			return err
		}
		if at := v.RowTime(); at >= q.From && at < q.To && (q.Name == "" || v.TaskName == q.Name) {
			set.Add(&v)
		}
		return nil
	}, "SELECT "+readColumns+" FROM "+schema+".invocation AS i"+joins(schema))
	if err != nil {
		return err
	}
	for k, r := range set.All() {
		if err := fn(RollupPart{Name: k.Name, At: k.Bucket, Data: r.AppendBinary(nil)}); err != nil {
			return err
		}
	}
	if set.Rest().Empty() {
		return nil
	}
	return fn(RollupPart{Name: rollup.Other, At: max(q.From, day.Start()), Data: set.Rest().AppendBinary(nil)})
}

// readRollups reads one attached file. Name ids are few, so that the walk over
// the primary key is short whether one name or all are asked for.
func readRollups(ctx context.Context, c *conn, schema string, q RollupQuery, width rollup.Width, fn func(RollupPart) error) error {
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT ifnull(max(id), 0) FROM "+schema+".task_name"); err != nil {
		return err
	}
	unnamed := ""
	if most, _ := vals[0].(int64); most > maxRollupNames {
		unnamed = rollup.Other
	}
	text := "SELECT n.name, r.start, r.gone, r.data FROM " + schema + ".rollup AS r LEFT JOIN " + schema + ".task_name AS n ON n.id = r.name" +
		" WHERE r.width = ? AND r.start >= ? AND r.start < ?"
	args := []driver.Value{int64(width), q.From, q.To}
	if q.Name != "" {
		if _, err := c.queryRow(ctx, vals[:], "SELECT ifnull((SELECT id FROM "+schema+".task_name WHERE name = ?), -1)", q.Name); err != nil {
			return err
		}
		text += " AND r.name = ?"
		args = append(args, vals[0])
	}
	return c.each(ctx, 4, func(vals []driver.Value) error {
		p := RollupPart{Name: unnamed}
		if name, ok := vals[0].(string); ok {
			p.Name = name
		}
		gone, ok1 := vals[2].(int64)
		at, ok2 := vals[1].(int64)
		data, ok3 := vals[3].([]byte)
		if !ok1 || !ok2 || !ok3 {
			return errRow
		}
		p.At, p.Gone, p.Data = at, gone != 0, data
		return fn(p)
	}, text, args...)
}
