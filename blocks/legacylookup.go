package blocks

import (
	"context"
	"database/sql/driver"

	"daybook/tsdb/task"
)

// legacyReader reads single rows through one connection.
type legacyReader struct {
	l *Legacy
	c *conn
}

// Lookup returns what the file knows of ids, whole: the rows of all tables
// merged. Ids that it does not know are not in the map. It does not wait for Select
// to give a connection back; without ids it only sees whether the file has changed.
func (l *Legacy) Lookup(ctx context.Context, ids []string) (map[string]task.Invocation, error) {
	found := map[string]task.Invocation{}
	if err := l.guard.check(); err != nil || len(ids) == 0 {
		return found, err
	}
	err := l.pool.lookUp(ctx, func(c *conn) error {
		r := legacyReader{l, c}
		for _, id := range ids {
			v, ok, err := r.find(ctx, id)
			if err != nil {
				return err
			}
			if ok {
				found[id] = v
			}
		}
		return nil
	})
	if err != nil {
		return nil, legacyError(ctx, l.path, err)
	}
	return found, nil
}

// Knows reports whether Lookup would find an id.
func (l *Legacy) Knows(ctx context.Context, id string) (known bool, err error) {
	if err := l.guard.check(); err != nil {
		return false, err
	}
	err = l.pool.lookUp(ctx, func(c *conn) error {
		r := legacyReader{l, c}
		tables, err := r.holders(ctx, id)
		for i := 0; i < len(tables) && err == nil && !known; i++ {
			var rows []legacyPlaced
			rows, err = r.rowsOf(ctx, id, tables[i:i+1], false)
			known = len(rows) > 0
		}
		return err
	})
	return known, legacyError(ctx, l.path, err)
}

// find merges the rows of an id, with details.
func (r legacyReader) find(ctx context.Context, id string) (v task.Invocation, ok bool, err error) {
	tables, err := r.holders(ctx, id)
	if err != nil {
		return v, false, err
	}
	rows, err := r.rowsOf(ctx, id, tables, true)
	if err != nil || len(rows) == 0 {
		return v, false, err
	}
	v, _ = mergeLegacy(rows)
	return v, true, nil
}

// holders are the tables that hold an id, in their order.
func (r legacyReader) holders(ctx context.Context, id string) (tables []*legacyTable, err error) {
	for _, text := range r.l.holds {
		err := r.c.each(ctx, 1, func(vals []driver.Value) error {
			if n, ok := vals[0].(int64); ok && n >= 0 && n < int64(len(r.l.tables)) {
				tables = append(tables, r.l.tables[n])
			}
			return nil
		}, text, id)
		if err != nil {
			return nil, err
		}
	}
	return tables, nil
}

// rowsOf reads the rows of an id in tables.
func (r legacyReader) rowsOf(ctx context.Context, id string, tables []*legacyTable, details bool) ([]legacyPlaced, error) {
	var rows []legacyPlaced
	for _, t := range tables {
		var vals [legacyCoreCount]driver.Value
		ok, err := r.c.queryRow(ctx, vals[:], t.byIDText(), id)
		if err != nil {
			return nil, err
		}
		var p legacyPlaced
		if !ok || !p.scan(t, vals[:]) {
			continue
		}
		if p.at, err = r.place(ctx, &p.legacyRow); err != nil || p.at == 0 {
			if err != nil {
				return nil, err
			}
			continue
		}
		if details {
			if err := r.details(ctx, &p.legacyRow); err != nil {
				return nil, err
			}
		}
		rows = append(rows, p)
	}
	return rows, nil
}

// place is the row time of a row, 0 if nothing dates it.
func (r legacyReader) place(ctx context.Context, row *legacyRow) (int64, error) {
	if at := row.rowTime(); at != 0 {
		return at, nil
	}
	return r.l.dateOf(ctx, r.c, row)
}

// details reads the details of a row.
func (r legacyReader) details(ctx context.Context, row *legacyRow) error {
	text := row.table.detailsText()
	if text == "" {
		return nil
	}
	var key driver.Value = row.id
	if row.table.inline {
		key = row.rowid
	}
	var vals [legacyDetailCount]driver.Value
	ok, err := r.c.queryRow(ctx, vals[:], text, key)
	if ok {
		row.scanDetails(vals[:])
	}
	return err
}

// row reads the row that an entry of the side stands for; false if there is
// none any more.
func (r legacyReader) row(ctx context.Context, e *legacyEntry) (p legacyPlaced, ok bool, err error) {
	t := r.l.tables[e.table]
	var vals [legacyCoreCount]driver.Value
	ok, err = r.c.queryRow(ctx, vals[:], t.byRowText(), e.row)
	if !ok || err != nil {
		return p, false, err
	}
	ok = p.scan(t, vals[:])
	p.at = e.at
	return p, ok, nil
}
