package blocks

import (
	"context"
	"database/sql/driver"
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
// the live files among them count. Files that cannot be read are left out and
// named by Unreadable.
func (v *View) Rollups(ctx context.Context, q RollupQuery, fn func(RollupPart) error) ([]VisibleCuts, error) {
	var seen []VisibleCuts
	for _, d := range v.gen.days {
		if q.To <= d.Day.Start() || q.From >= d.Day.End() {
			continue
		}
		for {
			d, ok := v.readable(d)
			if !ok {
				break
			}
			cuts, err := v.dayRollups(ctx, d, q, fn)
			if err == nil {
				if d.Live != nil {
					seen = append(seen, VisibleCuts{d.Day, cuts})
				}
				break
			}
			if !v.leaveOut(err) {
				return nil, err
			}
			// Parts may have been handed over already: the caller's sums are
			// void. It asks again, and the view leaves the file out.
			return nil, fmt.Errorf("%w: %w", ErrPartial, err)
		}
	}
	return seen, nil
}

// ErrPartial is returned by Rollups when a file failed in the middle: begin
// again with empty sums; the view leaves the file out now.
var ErrPartial = fmt.Errorf("a file failed while its rollups were read")

// dayRollups reads one day in one transaction.
func (v *View) dayRollups(ctx context.Context, d DayFiles, q RollupQuery, fn func(RollupPart) error) (cuts cutSet, err error) {
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
		if cuts, err = loadCuts(ctx, s.c, schema); err == nil {
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
		if err = readRollups(ctx, s.c, s.schema(d.Sealed.Path()), q, width, fn); err != nil {
			return nil, blame(ctx, d.Sealed.Path(), err)
		}
	}
	return cuts, nil
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
