package blocks

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
)

// overlay tells of which ids a day's overlay has rows, as one read transaction
// sees it. A row there hides the sealed row of its id also where the mask does
// not name it: the sealed file may have been away when the row was written.
type overlay struct {
	live   *Live
	c      *conn
	schema string
	index  *idIndex
}

// openOverlay begins the transaction on the live file.
func openOverlay(ctx context.Context, l *Live, c *conn, schema string) (*overlay, error) {
	o := &overlay{live: l, c: c, schema: schema}
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT ifnull(max(id), 0) FROM "+schema+".id_page"); err != nil {
		return nil, err
	}
	top, ok := vals[0].(int64)
	if !ok {
		return nil, errRow
	}
	var known bool
	var err error
	if o.index, known = l.index(top); !known {
		// Several cuts committed since just now.
		o.index, err = readFences(ctx, c, schema)
	}
	return o, err
}

// readFences reads the state of the id runs that a transaction sees.
func readFences(ctx context.Context, c *conn, schema string) (*idIndex, error) {
	x := &idIndex{}
	err := c.each(ctx, 4, func(vals []driver.Value) error {
		id, ok1 := vals[0].(int64)
		run, ok2 := vals[1].(int64)
		fence, ok3 := vals[2].([]byte)
		last, ok4 := vals[3].([]byte)
		if !ok1 || !ok2 || !ok3 || !ok4 || len(fence) != 8 || len(last) != 8 {
			return errRow
		}
		if n := len(x.runs); n == 0 || x.runs[n-1].run != run {
			x.runs = append(x.runs, &idRun{run: run, page: id})
		}
		r := x.runs[len(x.runs)-1]
		first, end := binary.BigEndian.Uint64(fence), binary.BigEndian.Uint64(last)
		if first < r.last || end < first { // ids would not be found
			return errRow
		}
		r.fences, r.last = append(r.fences, first), end
		x.top = id
		return nil
	}, fmt.Sprintf("SELECT id, run, substr(data, 1, 8), substr(data, -%d, 8) FROM %s.id_page ORDER BY id", entryBytes, schema))
	return x, err
}

// has reports whether the overlay has a row of an id.
func (o *overlay) has(ctx context.Context, hash uint64, id string) (found bool, err error) {
	_, found, err = o.find(ctx, hash, id)
	return found, err
}

// find is the key of the overlay's row of an id.
func (o *overlay) find(ctx context.Context, hash uint64, id string) (at int64, found bool, err error) {
	if !o.live.MayContain(hash) {
		return 0, false, nil
	}
	var vals [1]driver.Value
	page := func(n int64) ([]byte, error) {
		ok, err := o.c.queryRow(ctx, vals[:], "SELECT data FROM "+o.schema+".id_page WHERE id = ?", n)
		data, _ := vals[0].([]byte)
		if err == nil && (!ok || !validIDPage(data)) {
			err = fmt.Errorf("id page %d: %w", n, errRow)
		}
		return data, err
	}
	err = o.index.find(page, hash, func(key int64) (bool, error) {
		ok, err := o.c.queryRow(ctx, vals[:], "SELECT task_id FROM "+o.schema+".invocation WHERE key = ?", key)
		if !ok || err != nil {
			return false, err
		}
		stored, err := scanID(vals[0])
		found, at = stored == id, key
		return found, err
	})
	return at, found, err
}
