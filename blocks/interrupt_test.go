package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A statement that would never end ends with its context, in the middle of a
// step; what was found before is handed over, no file is blamed, and the
// connections serve the next reader.
func TestStatementsAreInterrupted(t *testing.T) {
	s := newShelf(t)
	rows := explainRows(testDay)
	newest := s.sealed(testDay, 1, rows[:3], nil)
	endless := s.sealed(testDay-1, 1, explainRows(testDay - 1)[:5], nil)
	alter(t, endless.Path(), "ALTER TABLE invocation RENAME TO there; CREATE VIEW invocation AS SELECT there.* FROM "+
		"(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c) AS c CROSS JOIN there WHERE c.x < 0")
	catalog := s.catalog(PoolOptions{Conns: 1}, DayFiles{Day: testDay, Sealed: newest}, DayFiles{Day: testDay - 1, Sealed: endless})
	for range 2 {
		view := catalog.View()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		got := 0
		err := view.Select(ctx, Select{Limit: 10}, func(*task.Invocation) (bool, error) { got++; return true, nil })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || got != 3 || len(view.Unreadable()) > 0 {
			t.Fatalf("%d rows, %v, unreadable %v", got, err, view.Unreadable())
		}
		got = 0
		err = view.Select(context.Background(), Select{Limit: 3}, func(*task.Invocation) (bool, error) { got++; return true, nil })
		if err != nil || got != 3 {
			t.Fatalf("afterwards: %d rows, %v", got, err)
		}
		view.Release()
	}
	c, err := openMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"); err == nil || ctx.Err() == nil {
		t.Fatal(err)
	}
	if _, err := c.queryRow(context.Background(), vals[:], "SELECT 7"); err != nil || vals[0] != int64(7) {
		t.Fatal(err, vals)
	}
}
