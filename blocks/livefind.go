package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"daybook/tsdb/task"
)

// liveReader is a live file's own reading connection.
type liveReader struct {
	c      *conn
	chunks *chunkReader
}

// Find returns the row of an id, with its details.
func (l *Live) Find(ctx context.Context, id string) (inv task.Invocation, ok bool, err error) {
	hash := task.HashID(id)
	if !l.MayContain(hash) {
		return inv, false, nil
	}
	err = l.withReader(ctx, func(r *liveReader) error {
		if err := r.c.exec("BEGIN"); err != nil {
			return fmt.Errorf("%s: %w", l.Name(), err)
		}
		inv, ok, err = r.find(ctx, l, hash, id)
		if err := errors.Join(err, r.c.exec("ROLLBACK")); err != nil {
			return fmt.Errorf("finding %q in %s: %w", id, l.Name(), err)
		}
		return nil
	})
	if err != nil {
		return task.Invocation{}, false, err
	}
	return inv, ok, nil
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

// find runs within one read transaction. Which state of the id runs it sees
// is told by the greatest page id.
func (r *liveReader) find(ctx context.Context, l *Live, hash uint64, id string) (inv task.Invocation, ok bool, err error) {
	var vals [columnCount]driver.Value
	if _, err := r.c.queryRow(ctx, vals[:1], "SELECT ifnull(max(id), 0) FROM id_page"); err != nil {
		return inv, false, err
	}
	top, _ := vals[0].(int64)
	x, known := l.index(top)
	if !known {
		// Some cuts committed since the transaction began; rare enough to read
		// all pages' first hashes again from what this transaction sees.
		if x, err = loadIDs(ctx, r.c, func(uint64) {}); err != nil {
			return inv, false, err
		}
		if l.readOnly { // nobody else keeps them
			l.indexes.Store(&[]*idIndex{x})
		}
	}
	page := func(id int64) ([]byte, error) { return readIDPage(ctx, r.c, id) }
	err = x.find(page, hash, func(key int64) (bool, error) {
		found, err := r.c.queryRow(ctx, vals[:], "SELECT "+readColumns+" FROM invocation AS i"+joins("main")+" WHERE i.key = ?", key)
		if !found || err != nil {
			return false, err
		}
		if stored, err := scanID(vals[1]); stored != id {
			return false, err
		}
		_, detail, residue, err := decodeRow(vals[:], l.day, &inv)
		if err != nil {
			return false, err
		}
		// A chunk never changes under its id while the file is open, so that
		// what is kept of earlier transactions still holds.
		if err := r.chunks.details(ctx, r.c, "main", detail, &inv); err != nil {
			return false, err
		}
		ok = true
		return true, inv.Restore(residue)
	})
	return inv, ok, err
}
