package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// The plan of every statement on a legacy file is written down: nothing is
// sorted, and whatever is scanned is scanned in the order that is wanted.
func TestLegacyExplain(t *testing.T) {
	l := openLegacy(t, legacyFixture(t, t.TempDir(), "gen3-rollback-small.db"))
	inline := openLegacy(t, legacyFixture(t, t.TempDir(), "gen1-small.db"))
	var out strings.Builder
	explain := func(l *Legacy, name, text string, args ...driver.Value) {
		fmt.Fprintf(&out, "%s\n%s\n----\n", name, text)
		err := l.pool.with(context.Background(), func(c *conn) error {
			return c.each(context.Background(), 4, func(vals []driver.Value) error {
				line := legacyTexts{}.text(vals[3])
				fmt.Fprintln(&out, line)
				for _, bad := range []string{"TEMP B-TREE", "MATERIALIZE", "CO-ROUTINE", "AUTOMATIC"} {
					if strings.Contains(line, bad) {
						t.Errorf("%s: %s", name, line)
					}
				}
				return nil
			}, "EXPLAIN QUERY PLAN "+text, args...)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		fmt.Fprintln(&out)
	}
	pick := func(l *Legacy, name string) *legacyTable {
		for _, table := range l.tables {
			if table.plain == name {
				return table
			}
		}
		t.Fatalf("no table %s", name)
		return nil
	}
	f := &task.Filter{Workers: []string{"w"}, Queues: []string{"q"}, ExceptionType: "E", HasMinRuntime: true, MinRuntime: 5, HasMaxRuntime: true, MaxRuntime: 9}
	for _, table := range []*legacyTable{pick(l, "invocations_20261118"), pick(l, "invocations_legacy"), pick(inline, "invocations")} {
		owner := l
		if table.inline {
			owner = inline
		}
		conds, args := legacyFilter(table, f, []task.State{task.StateFailure}, len(owner.tables) > 1)
		for _, oldest := range []bool{false, true} {
			explain(owner, "by time", table.scanText(false, nil, oldest), 1.0, 2.0)
			explain(owner, "by time, filtered", table.scanText(false, conds, oldest), append([]driver.Value{1.0, 2.0}, args...)...)
			explain(owner, "by name", table.scanText(true, conds, oldest), append([]driver.Value{"n", 1.0, 2.0}, args...)...)
			explain(owner, "edge by time", table.edgeText(false, oldest), 1.0, 2.0)
			explain(owner, "edge by name", table.edgeText(true, oldest), "n", 1.0, 2.0)
		}
		for i := range legacyStrayConds {
			args := []driver.Value{"n", int64(1), int64(2)}
			if i > 0 {
				args = []driver.Value{"n", int64(2)}
			}
			explain(owner, "strays", table.strayText(i, false), args[1:]...)
			explain(owner, "strays by name", table.strayText(i, true), args...)
		}
		explain(owner, "odd times", table.oddText())
		explain(owner, "names", table.nameText(), "n")
		explain(owner, "details", table.detailsText(), "x")
		explain(owner, "row by id", table.byIDText(), "x")
		explain(owner, "row", table.byRowText(), int64(1))
		explain(owner, "neighbour before", table.neighbourText(true), int64(1), int64(5))
		explain(owner, "neighbour after", table.neighbourText(false), int64(1), int64(5))
	}
	plain := pick(l, "invocations")
	explain(l, "all of a table without an index", plain.allText(), int64(0), int64(9))
	explain(l, "row by id of a table without an index", plain.byIDText(), "x")
	explain(l, "ids in several tables", legacyTwiceText(l.tables))
	explain(l, "holders", l.holds[0], "x")

	golden := filepath.Join("testdata", "legacy-explain.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != out.String() {
		t.Errorf("the plans differ from %s; if that is right, run the test with -update and review the change", golden)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.HasPrefix(line, "SCAN") && line != "SCAN CONSTANT ROW" {
			t.Errorf("a whole table is read: %s", line)
		}
	}
}
