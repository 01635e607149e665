package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"daybook/tsdb/task"
)

// liveReader is a live file's own reading connection.
type liveReader struct {
	c      *conn
	chunks *chunkReader // nil for rows without details
}

// Find returns the row of an id, with its details.
func (l *Live) Find(ctx context.Context, id string) (inv task.Invocation, ok bool, err error) {
	err = l.findAll(ctx, []wantedID{{id: id, hash: task.HashID(id)}}, false, func(v *task.Invocation) { inv, ok = *v, true })
	if err != nil {
		return task.Invocation{}, false, err
	}
	return inv, ok, nil
}

// findBatch is how many ids are looked up in one read transaction: others that
// wait for the connection come in between.
const findBatch = 256

// findAll calls fn with the rows of ids, in any order. forCut is as in LookupForCut.
//
// Without details all ids are looked up in the order of their hashes, in which the
// same pages of the runs are asked for again. With them only those of a transaction
// are, since ids that come together were often stored together: by the hashes of
// all, each row had a chunk of its own decompressed.
func (l *Live) findAll(ctx context.Context, wanted []wantedID, forCut bool, fn func(*task.Invocation)) error {
	var may []wantedID
	for _, w := range wanted {
		if l.MayContain(w.hash) {
			may = append(may, w)
		}
	}
	with := l.withReader
	if forCut {
		with = l.withWriter
		sortByHash(may)
	}
	for ids := range slices.Chunk(may, findBatch) {
		sortByHash(ids)
		if err := with(ctx, func(r *liveReader) error { return r.findAll(ctx, l, ids, fn) }); err != nil {
			return err
		}
	}
	return nil
}

func sortByHash(ids []wantedID) {
	slices.SortFunc(ids, func(a, b wantedID) int { return cmp.Compare(a.hash, b.hash) })
}

// foundRow is a row whose details are still to be read.
type foundRow struct {
	inv     task.Invocation
	detail  int64
	residue []byte
}

// findAll is one read transaction.
func (r *liveReader) findAll(ctx context.Context, l *Live, ids []wantedID, fn func(*task.Invocation)) error {
	if err := r.c.exec("BEGIN"); err != nil {
		return fmt.Errorf("%s: %w", l.Name(), err)
	}
	rows, err := r.rowsOf(ctx, l, ids)
	slices.SortFunc(rows, func(a, b *foundRow) int { return cmp.Compare(a.detail, b.detail) })
	for _, row := range rows {
		if err == nil {
			err = r.complete(ctx, l, row, fn)
		}
	}
	return errors.Join(err, r.c.exec("ROLLBACK"))
}

// rowsOf finds rows in a transaction.
func (r *liveReader) rowsOf(ctx context.Context, l *Live, ids []wantedID) ([]*foundRow, error) {
	x, err := r.index(ctx, l)
	if err != nil {
		return nil, err
	}
	page := cachedPages(ctx, r.c, findPages)
	rows := make([]*foundRow, 0, len(ids))
	for _, w := range ids {
		row, err := r.find(ctx, l, x, page, w)
		if err != nil {
			return nil, fmt.Errorf("finding %q in %s: %w", w.id, l.Name(), err)
		}
		if row != nil {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// complete reads what a row lacks, and calls fn with it.
func (r *liveReader) complete(ctx context.Context, l *Live, row *foundRow, fn func(*task.Invocation)) error {
	var err error
	if r.chunks != nil {
		// A chunk never changes under its id while the file is open, so that
		// what is kept of earlier transactions still holds.
		err = r.chunks.details(ctx, r.c, "main", row.detail, &row.inv)
	}
	if err == nil {
		err = row.inv.Restore(row.residue)
	}
	if err != nil {
		return fmt.Errorf("reading %q in %s: %w", row.inv.TaskID, l.Name(), err)
	}
	fn(&row.inv)
	return nil
}

// findPages is how many pages of the runs are kept meanwhile: as many as runs can
// have one id, of which those of the next one are the same or follow.
const findPages = 128

// withWriter runs fn with the writing connection, within no transaction, as a reader
// without details.
func (l *Live) withWriter(ctx context.Context, fn func(*liveReader) error) error {
	w, err := l.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { l.writer <- w }()
	return fn(&liveReader{c: w.c})
}

// withReader runs fn with the file's own reading connection.
func (l *Live) withReader(ctx context.Context, fn func(*liveReader) error) error {
	select {
	case <-l.closed:
		return ErrFileClosed
	default:
	}
	select {
	case r := <-l.reader:
		defer func() { l.reader <- r }()
		return fn(r)
	case <-l.closed:
		return ErrFileClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// index is the state of the id runs that the transaction sees, which the greatest
// page id tells.
func (r *liveReader) index(ctx context.Context, l *Live) (*idIndex, error) {
	var vals [1]driver.Value
	if _, err := r.c.queryRow(ctx, vals[:], "SELECT ifnull(max(id), 0) FROM id_page"); err != nil {
		return nil, err
	}
	top, _ := vals[0].(int64)
	if x, known := l.index(top); known {
		return x, nil
	}
	// Some cuts committed since the transaction began; rare enough to read
	// all pages' first hashes again from what this transaction sees.
	x, err := loadIDs(ctx, r.c, func(uint64) {})
	if err == nil && l.readOnly { // nobody else keeps them
		l.indexes.Store(&[]*idIndex{x})
	}
	return x, err
}

// find looks one id up in a transaction; nil if there is no row of it.
func (r *liveReader) find(ctx context.Context, l *Live, x *idIndex, page func(id int64) ([]byte, error), w wantedID) (row *foundRow, err error) {
	var vals [columnCount]driver.Value
	err = x.find(page, w.hash, func(key int64) (bool, error) {
		found, err := r.c.queryRow(ctx, vals[:], "SELECT "+readColumns+" FROM invocation AS i"+joins("main")+" WHERE i.key = ?", key)
		if !found || err != nil {
			return false, err
		}
		if stored, err := scanID(vals[1]); stored != w.id {
			return false, err
		}
		row = &foundRow{}
		_, row.detail, row.residue, err = decodeRow(vals[:], l.day, &row.inv)
		return true, err
	})
	return row, err
}
