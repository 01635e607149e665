package blocks

import (
	"database/sql/driver"
	"strings"
)

// batchInsert writes rows of a small table, insertRows to a statement: a
// statement costs as much as a few rows.
type batchInsert struct {
	text    string // INSERT INTO … VALUES and a space
	columns int
	args    []driver.NamedValue
}

// add writes a row, at the latest when flush is called.
func (b *batchInsert) add(c *conn, vals ...driver.Value) error {
	for _, v := range vals {
		b.args = append(b.args, driver.NamedValue{Ordinal: len(b.args) + 1, Value: v})
	}
	if len(b.args) < insertRows*b.columns {
		return nil
	}
	return b.flush(c)
}

// flush writes what is left, by powers of two: few statements are prepared.
func (b *batchInsert) flush(c *conn) error {
	one := "(?" + strings.Repeat(",?", b.columns-1) + ")"
	for n, args := insertRows, b.args; len(args) > 0; {
		if len(args) < n*b.columns {
			n /= 2
			continue
		}
		for i := range args[:n*b.columns] {
			args[i].Ordinal = i + 1
		}
		if err := c.execNamed(b.text+one+strings.Repeat(","+one, n-1), args[:n*b.columns]); err != nil {
			return err
		}
		args = args[n*b.columns:]
	}
	b.args = b.args[:0]
	return nil
}
