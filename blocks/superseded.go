package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"maps"
	"slices"

	"daybook/tsdb/task"
)

// Where a row has moved from one day to another, the file of its new day says
// so (the table moved), with the cut that did it. A daemon also deletes the old
// row, so that a catalog that it changes needs no marks (IgnoreMoved). Among
// copied day files, and in a directory that another process is writing, only
// the marks tell which of two rows stands.

// placeOf is the row of an id in a day.
type placeOf struct {
	day task.Day
	id  string
}

// superseded are, by day, the ids whose rows are not shown because the file of
// another day says that it has taken them over. A row may go and come back:
// the mark of the later cut counts. Usually there are none.
func (v *View) superseded(ctx context.Context) (map[task.Day]map[string]bool, error) {
	if v.catalog.ignoreMoved {
		return nil, nil
	}
	if known := v.gen.superseded.Load(); known != nil {
		return *known, nil
	}
	out, err := v.supersededBy(func(d DayFiles) ([]Moved, error) { return v.movedInto(ctx, d) })
	if err != nil {
		return nil, err
	}
	if len(v.LeftOut()) == 0 { // else the next view may read what this one could not
		v.gen.superseded.Store(&out)
	}
	return out, nil
}

// supersededBy is superseded by the marks that a function tells of each day.
func (v *View) supersededBy(marks func(d DayFiles) ([]Moved, error)) (map[task.Day]map[string]bool, error) {
	taken := map[placeOf]uint64{} // rows that were taken over, and by which cut
	came := map[placeOf]uint64{}  // rows that came from elsewhere, and by which cut
	for _, d := range v.gen.days {
		moved, err := marks(d)
		if err != nil {
			return nil, err
		}
		for _, m := range moved {
			to, from := placeOf{d.Day, m.ID}, placeOf{m.From, m.ID}
			came[to] = max(came[to], m.Cut)
			if m.From != d.Day {
				taken[from] = max(taken[from], m.Cut)
			}
		}
	}
	out := map[task.Day]map[string]bool{}
	for row, cut := range taken {
		if _, here := v.gen.byDay[row.day]; !here || came[row] > cut {
			continue
		}
		if out[row.day] == nil {
			out[row.day] = map[string]bool{}
		}
		out[row.day][row.id] = true
	}
	return out, nil
}

// Superseded returns the rows that are stored and not shown, for those who count
// without looking at rows.
func (v *View) Superseded(ctx context.Context) ([]task.Invocation, error) {
	hide, err := v.superseded(ctx)
	if err != nil {
		return nil, err
	}
	return v.rowsOf(ctx, hide)
}

// LeftBehind returns the rows that a daemon has still to delete, because another
// day has taken them over: in a copy that was made in the middle of a cut.
func (v *View) LeftBehind(ctx context.Context) ([]task.Invocation, error) {
	marked, err := v.supersededBy(func(d DayFiles) ([]Moved, error) { return v.movedInto(ctx, d) })
	if err != nil {
		return nil, err
	}
	return v.rowsOf(ctx, marked)
}

// rowsOf are the rows of ids in days, where there are any.
func (v *View) rowsOf(ctx context.Context, hide map[task.Day]map[string]bool) ([]task.Invocation, error) {
	var out []task.Invocation
	for _, d := range v.gen.days {
		ids := slices.Collect(maps.Keys(hide[d.Day]))
		if len(ids) == 0 {
			continue
		}
		rows, err := v.lookupReadable(ctx, d, wantedOf(ids), false)
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

// movedInto are the marks of a day's files.
func (v *View) movedInto(ctx context.Context, d DayFiles) ([]Moved, error) {
	var moved []Moved
	if d.Sealed != nil {
		moved = d.Sealed.Moved()
	}
	if d.Live != nil && d.Live.state.Load().moved > 0 {
		more, err := v.liveMoved(ctx, d.Live)
		if err != nil && !v.leaveOut(err) {
			return nil, err
		}
		moved = append(moved[:len(moved):len(moved)], more...)
	}
	return moved, nil
}

// liveMoved reads the marks of a live file.
func (v *View) liveMoved(ctx context.Context, l *Live) (moved []Moved, err error) {
	pool := v.catalog.pool
	s, err := pool.acquire(ctx, l.attachment())
	if err != nil {
		return nil, err
	}
	moved, err = loadMoved(ctx, s.c, s.schema(l.Path()))
	pool.release(s, err)
	return moved, blame(ctx, l.Path(), err)
}

// FromParked is where rows come from that were parked. A file says that they
// did for the sake of copies, in which the parked row may still be: see
// Parked.Supersede. Sealing drops these marks.
const FromParked task.Day = -1

// supersedeBatch is how many marks are looked at together.
const supersedeBatch = 1000

// Supersede takes the parked rows away that have been put into a live file
// since, without leaving the parked file: the file is a copy that was made in
// between. A read-only one only hides them.
func (p *Parked) Supersede(ctx context.Context, l *Live) (err error) {
	if l.state.Load().moved == 0 {
		return nil
	}
	c, err := openFile(l.path, l.mode)
	if err != nil {
		return blame(ctx, l.path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var ids []string
	err = c.each(ctx, 1, func(vals []driver.Value) error {
		id, err := scanID(vals[0])
		if err != nil || !p.filter.Load().has(task.HashID(id)) {
			return err
		}
		if ids = append(ids, id); len(ids) < supersedeBatch {
			return nil
		}
		err = p.supersede(ctx, l, ids)
		ids = ids[:0]
		return err
	}, "SELECT task_id FROM moved WHERE from_day = ?", int64(FromParked))
	if err != nil {
		return blame(ctx, l.path, err)
	}
	return p.supersede(ctx, l, ids)
}

func (p *Parked) supersede(ctx context.Context, l *Live, ids []string) error {
	parked, err := p.Find(ctx, ids)
	if err != nil {
		return err
	}
	for id := range parked {
		// Where the row has moved on since, its new day says so itself.
		if _, here, err := l.Find(ctx, id); err != nil {
			return err
		} else if !here {
			delete(parked, id)
		}
	}
	if !p.readOnly {
		return p.Delete(ctx, slices.Collect(maps.Keys(parked)))
	}
	s := *p.state.Load()
	s.rows -= int64(len(parked))
	p.state.Store(&s)
	for id := range parked {
		p.hidden[id] = true
	}
	return nil
}

// loadMoved reads the marks of one schema that are about other days.
func loadMoved(ctx context.Context, c *conn, schema string) ([]Moved, error) {
	var moved []Moved
	err := c.each(ctx, 3, func(vals []driver.Value) error {
		id, err := scanID(vals[0])
		from, ok1 := vals[1].(int64)
		cut, ok2 := vals[2].(int64)
		if err != nil || !ok1 || !ok2 || from != int64(task.Day(from)) || cut < 0 {
			return errRow
		}
		moved = append(moved, Moved{ID: id, From: task.Day(from), Cut: uint64(cut)})
		return nil
	}, "SELECT task_id, from_day, cut FROM "+schema+".moved WHERE from_day <> ? ORDER BY task_id, from_day", int64(FromParked))
	return moved, err
}

// storeMoved writes one mark.
func storeMoved(c *conn, m Moved) error {
	return c.exec("INSERT INTO moved (task_id, from_day, cut) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET cut = max(cut, excluded.cut)",
		bindID(m.ID), int64(m.From), int64(m.Cut))
}
