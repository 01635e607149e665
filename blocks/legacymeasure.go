package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"

	"daybook/tsdb/task"
)

// measure reads the ends of a table's indexes: a few pages whatever its size.
func (t *legacyTable) measure(ctx context.Context, c *conn) error {
	var vals [2]driver.Value
	_, err := c.queryRow(ctx, vals[:], fmt.Sprintf("SELECT (SELECT min(_rowid_) FROM %[1]s), (SELECT max(_rowid_) FROM %[1]s)", t.name))
	if err != nil || vals[0] == nil {
		return err
	}
	low, okLow := vals[0].(int64)
	high, okHigh := vals[1].(int64)
	if okLow && okHigh && high >= low {
		t.firstRow, t.rows = low, high-low+1
	}
	if t.byTime == "" {
		return nil
	}
	for _, end := range []struct {
		oldest bool
		to     *int64
	}{{true, &t.oldest}, {false, &t.newest}} {
		if *end.to, err = t.edge(ctx, c, "", legacySeconds(0), legacySeconds(task.MaxMicros), end.oldest); err != nil {
			return err
		}
	}
	var odd [1]driver.Value
	_, err = c.queryRow(ctx, odd[:], t.oddText())
	t.odd = odd[0] != int64(0)
	return err
}

// strays are the ranges in which rows without a proper time are.
func (t *legacyTable) strays() []string {
	if t.odd {
		return legacyStrayConds
	}
	return legacyStrayConds[:1]
}

// edge is the time of the first row of an arm between two times, in seconds
// and inclusive; 0 if there is none.
func (t *legacyTable) edge(ctx context.Context, c *conn, name string, low, high float64, oldest bool) (int64, error) {
	args := []driver.Value{low, high}
	if name != "" {
		args = []driver.Value{name, low, high}
	}
	var vals [1]driver.Value
	_, err := c.queryRow(ctx, vals[:], t.edgeText(name != "", oldest), args...)
	return legacyMicros(vals[0]), err
}
