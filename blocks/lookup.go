package blocks

import (
	"context"
	"database/sql/driver"
	"slices"

	"daybook/tsdb/task"
)

// Stored is what the files know of a task_id.
type Stored struct {
	task.Invocation
	// Where are the days in which a row of it was found, newest first. More
	// than one after an interrupted move, or among copied days.
	Where []task.Day
	// Rows are what each of these days has of it.
	Rows []task.Invocation
}

// wantedID is an id that is looked up.
type wantedID struct {
	id   string
	hash uint64
	// probe says that the resident part of the filters does not tell.
	probe bool
}

// Lookup returns the stored rows of ids, whole. Rows of one id in several
// files are merged. Most files are never read: their id filters say that they
// have none of the ids.
//
// Files that cannot be read are left out and named by Unreadable. The error is
// that of ctx.
func (v *View) Lookup(ctx context.Context, ids []string) (map[string]Stored, error) {
	return v.lookup(ctx, ids, false)
}

// LookupForCut is Lookup for whoever is about to write: of rows without details, which
// takes in live files the connections that write them. Requests have the others, and
// a cut would wait for each of its ids in line with theirs.
func (v *View) LookupForCut(ctx context.Context, ids []string) (map[string]Stored, error) {
	return v.lookup(ctx, ids, true)
}

func (v *View) lookup(ctx context.Context, ids []string, forCut bool) (map[string]Stored, error) {
	wanted := wantedOf(ids)
	found := map[string]Stored{}
	for _, d := range v.gen.days {
		rows, err := v.lookupReadable(ctx, d, wanted, forCut)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			addStored(found, d.Day, &rows[i])
		}
	}
	return found, nil
}

// wantedOf hashes ids and leaves out repeated ones.
func wantedOf(ids []string) []wantedID {
	wanted := make([]wantedID, 0, len(ids))
	asked := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if _, twice := asked[id]; !twice {
			asked[id] = struct{}{}
			wanted = append(wanted, wantedID{id: id, hash: task.HashID(id)})
		}
	}
	return wanted
}

// lookupReadable is lookupDay without the files that fail.
func (v *View) lookupReadable(ctx context.Context, d DayFiles, wanted []wantedID, forCut bool) ([]task.Invocation, error) {
	for {
		d, ok := v.readable(d)
		if !ok {
			return nil, nil
		}
		rows, err := v.lookupDay(ctx, d, wanted, forCut)
		if err == nil || !v.leaveOut(err) {
			return rows, err
		}
	}
}

func addStored(found map[string]Stored, day task.Day, row *task.Invocation) {
	s := found[row.TaskID]
	s.Invocation.Merge(row)
	if i := slices.Index(s.Where, day); i >= 0 {
		s.Rows[i].Merge(row)
	} else {
		s.Where, s.Rows = append(s.Where, day), append(s.Rows, *row)
	}
	found[row.TaskID] = s
}

// lookupDay finds the rows of one day. What the overlay masks is looked at
// before the overlay's rows are: a row that moves from the sealed file to the
// overlay meanwhile is found twice rather than not at all, and Merge makes
// both the newer one.
func (v *View) lookupDay(ctx context.Context, d DayFiles, wanted []wantedID, forCut bool) (rows []task.Invocation, err error) {
	var inSealed []wantedID
	if d.Sealed != nil {
		var mask *MaskSet
		if d.Live != nil {
			mask = d.Live.Masked()
		}
		for _, w := range wanted {
			maybe, known := d.Sealed.MayContain(w.hash)
			w.probe = !known
			if (maybe || !known) && (mask == nil || !mask.Has(w.hash, w.id)) {
				inSealed = append(inSealed, w)
			}
		}
	}
	if d.Live != nil {
		if err := d.Live.findAll(ctx, wanted, forCut, func(inv *task.Invocation) { rows = append(rows, *inv) }); err != nil {
			return nil, blame(ctx, d.Live.Path(), err)
		}
	}
	if len(inSealed) == 0 {
		return rows, nil
	}
	found, err := v.lookupSealed(ctx, d.Day, d.Sealed, inSealed, forCut)
	return append(rows, found...), err
}

func (v *View) lookupSealed(ctx context.Context, day task.Day, f *Sealed, wanted []wantedID, forCut bool) (rows []task.Invocation, err error) {
	pool := v.catalog.pool
	s, err := pool.acquire(ctx, attachment{f.Path(), modeImmutable})
	if err != nil {
		return nil, err
	}
	defer func() { pool.release(s, err) }()
	l := sealedLookup{c: s.c, schema: s.schema(f.Path()), day: day, blocks: f.FilterBlocks(), ids: f.ids}
	if !forCut {
		l.chunks = newChunkReader(chunkMemory)
	}
	// In the order of the filter's pages, and about that of the index's for ids
	// of one kind.
	for _, w := range wanted {
		if rows, err = l.find(ctx, w, rows); err != nil {
			return nil, blame(ctx, f.Path(), err)
		}
	}
	return rows, nil
}

// sealedLookup looks ids up in one attached sealed file.
type sealedLookup struct {
	c      *conn
	schema string
	day    task.Day
	blocks int // of the id filter
	ids    sealedIDs
	chunks *chunkReader // nil for rows without details
}

// each calls fn with some columns of the rows i of an id in a sealed file;
// text is a SELECT … FROM … AS i of them, joined with what it needs.
func (x sealedIDs) each(ctx context.Context, c *conn, schema string, w wantedID, columns int, text idText, fn func([]driver.Value) error) error {
	if x.pages == 0 {
		return c.each(ctx, columns, fn, text.indexed(schema), bindID(w.id))
	}
	ranges, err := x.ranges(ctx, c, schema, w.hash)
	for _, keys := range ranges {
		if err == nil {
			err = c.each(ctx, columns, fn, text.within(schema), keys.low, keys.high, bindID(w.id))
		}
	}
	return err
}

// idText makes the statements that read rows by id.
type idText struct {
	columns string
	joins   func(schema string) string
}

var (
	rowsByID = idText{readColumns, joins}
	keysByID = idText{"i.key", func(string) string { return "" }}
)

// indexed is for files of version 1, which have an index on task_id.
func (t idText) indexed(schema string) string {
	return "SELECT " + t.columns + " FROM " + schema + ".invocation AS i INDEXED BY invocation_id" + t.joins(schema) + " WHERE i.task_id = ?"
}

// within looks through a range of keys.
func (t idText) within(schema string) string {
	return "SELECT " + t.columns + " FROM " + schema + ".invocation AS i " + byKey + t.joins(schema) + " WHERE i.key >= ? AND i.key < ? AND i.task_id = ?"
}

// find appends the row of an id, if there is one.
func (l *sealedLookup) find(ctx context.Context, w wantedID, out []task.Invocation) ([]task.Invocation, error) {
	if w.probe {
		if maybe, err := probeFilter(ctx, l.c, l.schema, l.blocks, w.hash); err != nil || !maybe {
			return out, err
		}
	}
	err := l.ids.each(ctx, l.c, l.schema, w, columnCount, rowsByID, func(vals []driver.Value) error {
		out = append(out, task.Invocation{})
		return l.decode(ctx, vals, &out[len(out)-1])
	})
	return out, err
}

func (l *sealedLookup) decode(ctx context.Context, vals []driver.Value, inv *task.Invocation) error {
	_, detail, residue, err := decodeRow(vals, l.day, inv)
	if err != nil {
		return err
	}
	if l.chunks != nil {
		if err := l.chunks.details(ctx, l.c, l.schema, detail, inv); err != nil {
			return err
		}
	}
	return inv.Restore(residue)
}

// selectID is Select for one task_id.
func (v *View) selectID(ctx context.Context, s Select, fn func(*task.Invocation) (bool, error)) error {
	id := s.Filter.TaskID
	if s.Skip != nil && s.Skip(id, task.HashID(id)) {
		return nil
	}
	found, err := v.Lookup(ctx, []string{id})
	if err != nil {
		return err
	}
	row, ok := found[id]
	if !ok || !s.Filter.Match(&row.Invocation) || s.Text != nil && !s.Text.Match(&row.Invocation) {
		return nil
	}
	if key := row.Key(); s.After != nil && !behind(s.After, &key, s.Oldest) {
		return nil
	}
	if !s.Details {
		row.Args, row.Kwargs = "", ""
		row.Outcome.Result, row.Outcome.ExceptionMessage, row.Outcome.Traceback = "", "", ""
	}
	_, err = fn(&row.Invocation)
	return err
}

// behind reports whether a row comes after a place in the order.
func behind(at, row *task.Key, oldest bool) bool {
	c := at.Compare(*row)
	return c < 0 && oldest || c > 0 && !oldest
}
