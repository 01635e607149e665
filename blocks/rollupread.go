package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"

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
	if q.Name != "" {
		if folded, err := foldedName(ctx, s, d, q.Name); folded || err != nil {
			if err == nil && d.Live != nil {
				if cuts, err = loadCuts(ctx, s.c, s.schema(d.Live.Path())); err != nil {
					err = blame(ctx, d.Live.Path(), err)
				}
			}
			if err == nil {
				err = v.countNamed(ctx, s, d, q, fn)
			}
			return cuts, err
		}
	}
	whole := q.Whole && q.From <= d.Day.Start() && q.To >= d.Day.End()
	if d.Live != nil {
		schema := s.schema(d.Live.Path())
		cuts, err = loadCuts(ctx, s.c, schema)
		switch {
		case err != nil:
		case bare:
			err = countRows(ctx, s.c, schema, d, q, fn)
		default:
			err = readLiveRollups(ctx, s.c, schema, q, fn)
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
func countRows(ctx context.Context, c *conn, schema string, d DayFiles, q RollupQuery, fn func(RollupPart) error) error {
	set := rollup.NewSet(q.Width, rollup.DefaultLimits)
	err := c.each(ctx, columnCount, func(vals []driver.Value) error {
		var v task.Invocation
		if _, _, _, err := decodeRow(vals, d.Day, &v); err != nil {
			return err
		}
		if at := v.RowTime(); at >= q.From && at < q.To && (q.Name == "" || v.TaskName == q.Name) {
			set.Add(Counted(&v, d.FirstWaitRule()))
		}
		return nil
	}, "SELECT "+readColumns+" FROM "+schema+".invocation AS i"+joins(schema))
	if err != nil {
		return err
	}
	return eachRollup(set, max(q.From, d.Day.Start()), fn)
}

// eachRollup calls fn for all that a set holds.
func eachRollup(set *rollup.Set, at int64, fn func(RollupPart) error) error {
	for k, r := range set.All() {
		if err := fn(RollupPart{Name: k.Name, At: k.Bucket, Data: r.AppendBinary(nil)}); err != nil {
			return err
		}
	}
	if set.Rest().Empty() {
		return nil
	}
	return fn(RollupPart{Name: rollup.Other, At: at, Data: set.Rest().AppendBinary(nil)})
}

// foldedName reports whether a file of a day counts a name together with others.
func foldedName(ctx context.Context, s *session, d DayFiles, name string) (bool, error) {
	for _, a := range d.attachments() {
		id, _, err := nameID(ctx, s.c, s.schema(a.path), name)
		if err != nil || id > maxRollupNames {
			return id > maxRollupNames, blame(ctx, a.path, err)
		}
	}
	return false, nil
}

// nameID is the id of a task name in an attached file, 0 if it has none, and the
// greatest id there.
func nameID(ctx context.Context, c *conn, schema, name string) (id, most int64, err error) {
	var vals [2]driver.Value
	_, err = c.queryRow(ctx, vals[:], "SELECT (SELECT id FROM "+schema+".task_name WHERE name = ?), (SELECT max(id) FROM "+schema+".task_name)", name)
	id, _ = vals[0].(int64)
	most, _ = vals[1].(int64)
	return id, most, err
}

// countNamed calls fn for the rollups of the rows of one name: of all rows of
// the day that are shown, so that nothing is gone.
func (v *View) countNamed(ctx context.Context, s *session, d DayFiles, q RollupQuery, fn func(RollupPart) error) error {
	set := rollup.NewSet(q.Width, rollup.DefaultLimits)
	w := newWalk(v, Select{Filter: &task.Filter{TaskNames: []string{q.Name}, From: q.From, To: q.To}, Oldest: true})
	w.left = math.MaxInt
	for ended := false; !ended; {
		var err error
		w.rows, w.size, w.want = w.rows[:0], 0, fillRows
		if ended, err = w.readOn(ctx, s, d); err != nil {
			return err
		}
		for i := range w.rows {
			if x := &w.rows[i]; x.TaskName == q.Name { // it may end in *
				set.Add(Counted(x, d.FirstWaitRule()))
			}
		}
	}
	return eachRollup(set, max(q.From, d.Day.Start()), fn)
}

// ErrFolded is returned for a name that is counted together with others: its
// rows are to be counted.
var ErrFolded = errors.New("more task names than are counted apart")

// readLiveRollups reads an attached live file. Its hours are not complete: the
// minutes that are pending come as parts of theirs.
func readLiveRollups(ctx context.Context, c *conn, schema string, q RollupQuery, fn func(RollupPart) error) error {
	if err := readRollups(ctx, c, schema, q, q.Width, fn); err != nil || q.Width != rollup.Hour {
		return err
	}
	to, err := loadHours(ctx, c, schema)
	if err != nil || to >= q.To {
		return err
	}
	q.From = max(q.From, to)
	return readRollups(ctx, c, schema, q, rollup.Minute, func(p RollupPart) error {
		p.At = rollup.Hour.Start(p.At)
		return fn(p)
	})
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
