package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// insertRows is how many rows one INSERT statement carries; more cost the
// same a row.
const insertRows = 32

// rowInserter writes rows into invocation, insertRows at a time.
type rowInserter struct {
	args []driver.NamedValue
	n    int // rows in args
}

func newRowInserter() *rowInserter {
	r := &rowInserter{args: make([]driver.NamedValue, insertRows*columnCount)}
	for i := range r.args {
		r.args[i].Ordinal = i + 1
	}
	return r
}

func insertSQL(rows int) string {
	one := "(?" + strings.Repeat(",?", columnCount-1) + ")"
	return "INSERT INTO invocation (" + columns + ") VALUES " + one + strings.Repeat(","+one, rows-1)
}

var insertMany, insertOne = insertSQL(insertRows), insertSQL(1)

// next is the place for the arguments of the next row; commit it with add.
func (r *rowInserter) next() []driver.NamedValue {
	return r.args[r.n*columnCount : (r.n+1)*columnCount]
}

// flush writes the rows collected. Where a key is taken, place is asked for
// another one; only then are rows written one by one.
func (r *rowInserter) flush(c *conn, place func(i int) (int64, error)) error {
	n := r.n
	r.n = 0
	if n == insertRows {
		err := c.execNamed(insertMany, r.args)
		if err == nil || !keyTaken(err) {
			return err
		}
	}
	one := make([]driver.NamedValue, columnCount)
	for i := range n {
		for j := range one {
			one[j] = driver.NamedValue{Ordinal: j + 1, Value: r.args[i*columnCount+j].Value}
		}
		err := c.execNamed(insertOne, one)
		if err != nil && keyTaken(err) {
			if one[0].Value, err = place(i); err == nil {
				err = c.execNamed(insertOne, one)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keyTaken reports whether an insert failed because a row of that key exists.
func keyTaken(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) && se.ExtendedCode == sqlite3.ErrConstraintPrimaryKey
}

// freeKey is the first key from key on that no row has.
func freeKey(ctx context.Context, c *conn, key int64) (int64, error) {
	err := c.each(ctx, 1, func(vals []driver.Value) error {
		if k, ok := vals[0].(int64); !ok || k != key {
			return errStop
		}
		key++
		return nil
	}, "SELECT key FROM invocation WHERE key >= ? ORDER BY key", key)
	if errors.Is(err, errStop) {
		err = nil
	}
	return key, err
}

// errStop ends a walk early.
var errStop = errors.New("stop")
