package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// The merge of the unique indexes finds the ids that are in several tables, and
// no other ones; a walk by it is the same walk.
func TestLegacyTwice(t *testing.T) {
	for name, want := range legacyTruths(t) {
		l := openLegacy(t, legacyFixture(t, t.TempDir(), name))
		before := allLegacy(t, l, Select{Details: true})
		if err := l.Prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
		twice := l.twice()
		for id := range want.Twice {
			if twice.single(task.HashID(id)) {
				t.Errorf("%s: %s has two rows", name, id)
			}
		}
		if len(twice.hashes) != len(want.Twice) {
			t.Errorf("%s: %d ids have several rows, want %d", name, len(twice.hashes), len(want.Twice))
		}
		after := allLegacy(t, l, Select{Details: true})
		if !slices.EqualFunc(before, after, func(a, b task.Invocation) bool { return jsonOf(a) == jsonOf(b) }) {
			t.Errorf("%s: %d rows before, %d after", name, len(before), len(after))
		}
	}
}

// A side that does not fit into memory gives the same walk.
func TestLegacySpill(t *testing.T) {
	plain, spilled := &legacySide{}, &legacySide{}
	for i := range int64(5000) {
		e := legacyEntry{at: 1 + i*7919%1000, hash: task.HashID(fmt.Sprint(i)), row: i - 9, table: uint16(i % 3), name: uint32(i), state: task.StateRetry}
		for _, s := range []*legacySide{plain, spilled} {
			if err := s.add(e); err != nil {
				t.Fatal(err)
			}
		}
		if i%1500 == 0 {
			if err := spilled.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range []*legacySide{plain, spilled} {
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
	}
	defer closeLegacySide(t, spilled)
	if spilled.spill == nil || len(spilled.mem) != 0 || plain.oldest != spilled.oldest || plain.newest != spilled.newest {
		t.Fatal("not spilled")
	}
	ctx := context.Background()
	for _, at := range []int64{0, 1, 2, 500, 1000, 1001} {
		for _, oldest := range []bool{false, true} {
			a, b := plain.from(at, oldest), spilled.from(at, oldest)
			for n := 0; ; n++ {
				x, err := a.head(ctx)
				if err != nil {
					t.Fatal(err)
				}
				y, err := b.head(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if x == nil || y == nil {
					if x != nil || y != nil {
						t.Fatalf("from %d oldest %v: one ends at %d", at, oldest, n)
					}
					break
				}
				if *x != *y {
					t.Fatalf("from %d oldest %v, entry %d: %+v and %+v", at, oldest, n, *x, *y)
				}
				a.next()
				b.next()
			}
		}
	}
}

func closeLegacySide(t *testing.T, s *legacySide) {
	t.Helper()
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// More rows of one microsecond than are held at once, with an index by time
// and without one, come in order, each once.
func TestLegacyRunOfOneMicrosecond(t *testing.T) {
	const rows = 3*legacyRun + 77
	for _, indexed := range []bool{true, false} {
		sql := legacySchemaSQL
		if !indexed {
			sql = strings.ReplaceAll(sql, "CREATE INDEX", "-- CREATE INDEX")
		}
		path := legacyScript(t, filepath.Join(t.TempDir(), "run.db"), sql+fmt.Sprintf(
			`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO invocations SELECT 'id-' || i, 'name', 'SUCCESS', NULL, NULL, 1795000000.5, 1, 'w', 'q', NULL FROM n`, rows))
		l := openLegacy(t, path)
		for _, oldest := range []bool{false, true} {
			var keys []task.Key
			s := Select{Oldest: oldest}
			for {
				n := 0
				err := l.Select(context.Background(), s, func(v *task.Invocation) (bool, error) {
					key := v.Key()
					keys, s.After = append(keys, key), &key
					n++
					return n < 5000, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if n < 5000 {
					break
				}
			}
			sorted := slices.IsSortedFunc(keys, func(a, b task.Key) int {
				if oldest {
					return a.Compare(b)
				}
				return b.Compare(a)
			})
			if len(slices.Compact(keys)) != rows || !sorted {
				t.Errorf("indexed %v oldest %v: %d rows of %d, sorted: %v", indexed, oldest, len(keys), rows, sorted)
			}
		}
	}
}

// Texts far beyond every limit are cut as those of any source, and said to be.
func TestLegacyLongTexts(t *testing.T) {
	path := legacyScript(t, filepath.Join(t.TempDir(), "long.db"), legacySchemaSQL+
		`INSERT INTO invocations VALUES ('a', 'n' || hex(zeroblob(5000000)), 'FAILURE', 1.5, 2.5, 3.5, 1, 'w' || hex(zeroblob(1000)), 'q', 'E' || hex(zeroblob(1000)));
INSERT INTO invocation_details VALUES ('a', 'é' || hex(zeroblob(20000)), CAST(x'00ff41' AS TEXT), 't' || hex(zeroblob(20000000)))`)
	l := openLegacy(t, path)
	rows := allLegacy(t, l, Select{Details: true})
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	v := rows[0]
	want := task.FieldTaskName | task.FieldWorker | task.FieldExceptionType | task.FieldArgs | task.FieldTraceback
	if v.Truncated != want || len(v.TaskName) != task.MaxName || len(v.Args) > task.MaxText || len(v.Outcome.Traceback) != task.MaxTraceback {
		t.Errorf("truncated %v, %d %d %d bytes", v.Truncated.Names(), len(v.TaskName), len(v.Args), len(v.Outcome.Traceback))
	}
	if v.Kwargs != "\x00\uFFFDA" {
		t.Errorf("kwargs %q", v.Kwargs)
	}
}

// Seconds become the microseconds that the sender wrote.
func TestLegacyMicros(t *testing.T) {
	for _, tt := range []struct {
		in   any
		want int64
	}{
		{1795132799.999999, 1795132799999999}, {1794601319.1900816, 1794601319190082}, {1794871841.9312823, 1794871841931282},
		{1795046400.0, 1795046400000000}, {int64(1795046400), 1795046400000000}, {0.000001, 1}, {0.0, 0}, {-1.5, 0},
		{1e300, 0}, {int64(-1 << 63), 0}, {nil, 0}, {"1795046400", 0}, {[]byte("1"), 0},
	} {
		if got := legacyMicros(tt.in); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.in, got, tt.want)
		}
	}
}

func TestCheckLegacy(t *testing.T) {
	ctx := context.Background()
	for name, want := range map[string]int{"gen2-small.db": 0, "gen2-crash-small.db": 0, "gen3-rollback-small.db": 1} {
		found, err := CheckLegacy(ctx, legacyFixture(t, t.TempDir(), name))
		if err != nil || len(found) != want {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	path := legacyScript(t, filepath.Join(t.TempDir(), "odd.db"), legacySchemaSQL+
		`INSERT INTO invocations VALUES (NULL, 'n', 'SUCCESS', 1, 2, 3, 1, '', '', ''), (NULL, 'n', 'SUCCESS', 1, 2, 3, 1, '', '', ''), ('x', 'n', 'PENDING', 1, 2, 3, 1, '', '', ''), ('y', 'n', 'SUCCESS', 1, 2, 3, 1, '', '', '')`)
	found, err := CheckLegacy(ctx, path)
	if err != nil || len(found) != 1 || !found[0].Note || !strings.HasPrefix(found[0].Problem, "3 rows") {
		t.Errorf("%+v, %v", found, err)
	}
	found, err = CheckLegacy(ctx, filepath.Join(t.TempDir(), "none.db"))
	if err != nil || len(found) != 1 || found[0].Note || found[0].Remedy == "" {
		t.Errorf("%+v, %v", found, err)
	}
}

// A schema with triggers, generated columns and types of its own is read for
// what it is.
func TestLegacyOddSchema(t *testing.T) {
	path := legacyScript(t, filepath.Join(t.TempDir(), "schema.db"), `
CREATE TABLE invocations (extra, task_id VARCHAR(10) NOT NULL PRIMARY KEY, task_name TEXT COLLATE NOCASE, state TEXT, finished_at DOUBLE, started_at TIMESTAMP, received_at AS (finished_at - 1), worker AS (upper(extra)) STORED, runtime_ms BOOLEAN);
CREATE INDEX "by ""time""" ON invocations(finished_at DESC);
CREATE INDEX nocase ON invocations(task_name, finished_at);
CREATE TABLE invocations_20261399 (a);
CREATE VIEW invocations_20261119 AS SELECT * FROM invocations;
CREATE TRIGGER tr AFTER INSERT ON invocations BEGIN SELECT 1; END;
INSERT INTO invocations (extra, task_id, task_name, state, finished_at, started_at, runtime_ms) VALUES ('host', 'a', 'Name', 'SUCCESS', 1795000000.25, 1794999999.5, 1), ('host', 'b', 'name', 'SUCCESS', 1795000000.5, 'never', 7)`)
	l := openLegacy(t, path)
	rows := allLegacy(t, l, Select{Filter: &task.Filter{TaskNames: []string{"Name"}, Workers: []string{"HOST"}}})
	if len(rows) != 1 || rows[0].TaskID != "a" || rows[0].ReceivedAt != 1794999999250000 || rows[0].StartedAt != 1794999999500000 || rows[0].Outcome.Runtime != 1000 {
		t.Errorf("%+v", rows)
	}
	if rows := allLegacy(t, l, Select{Oldest: true}); len(rows) != 2 || rows[1].TaskID != "b" || rows[1].StartedAt != 0 {
		t.Errorf("%+v", rows)
	}
}

// fewRows is a fixture with no more than some rows in each table.
func fewRows(f *testing.F, name string) []byte {
	f.Helper()
	path := legacyFixture(f, f.TempDir(), name)
	c, err := openFile(path, modeWrite)
	if err != nil {
		f.Fatal(err)
	}
	for _, table := range legacyTables(f, c) {
		if err := c.script("DELETE FROM " + table + " WHERE rowid > (SELECT min(rowid) + 5 FROM " + table + ")"); err != nil {
			f.Fatal(err)
		}
	}
	if err := errors.Join(c.script("PRAGMA journal_mode = DELETE"), c.script("VACUUM"), c.close()); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if l := openLegacy(f, path); len(allLegacy(f, l, Select{Details: true})) == 0 || len(b) > 200<<10 {
		f.Fatalf("%s: no rows, or %d bytes", name, len(b))
	}
	return b
}

// legacyTables names the tables of a fixture that have rows.
func legacyTables(f *testing.F, c *conn) (names []string) {
	f.Helper()
	if err := c.each(context.Background(), 1, func(vals []driver.Value) error {
		names = append(names, vals[0].(string))
		return nil
	}, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"); err != nil {
		f.Fatal(err)
	}
	return names
}

// readsTyped wants rows that can be, or a typed error.
func readsTyped(t *testing.T, l *Legacy, s Select) {
	t.Helper()
	err := l.Select(context.Background(), s, func(v *task.Invocation) (bool, error) {
		if err := task.CheckID(v.TaskID); err != nil || !v.State.Valid() {
			t.Errorf("a row that cannot be: %+v %v", v, err)
		}
		return true, nil
	})
	var typed *LegacyError
	if err != nil && !errors.As(err, &typed) {
		t.Errorf("an error without a type: %v", err)
	}
}

// Whatever the file holds, opening and reading it gives rows or a typed error.
func FuzzLegacy(f *testing.F) {
	whole, err := os.ReadFile(legacyScript(f, filepath.Join(f.TempDir(), "seed.db"), legacySchemaSQL+
		`INSERT INTO invocations VALUES ('a', 'n', 'SUCCESS', 1, 2, 3, 1, 'w', 'q', ''), ('b', 'n', 'RETRY', 1, 2, NULL, 1, 'w', 'q', 'E')`))
	if err != nil {
		f.Fatal(err)
	}
	bodies := [][]byte{whole, fewRows(f, "gen1-small.db"), fewRows(f, "gen3-small.db")}
	for i, b := range bodies {
		f.Add(byte(i), 0, []byte(nil), []byte{})
		f.Add(byte(i), 0, []byte{0}, []byte{})
		f.Add(byte(i), 4096, []byte("\x0d\x00\x00"), []byte("abc"))
		f.Add(byte(i), len(b)-40, []byte("\xff\xff\xff"), []byte{})
	}
	f.Fuzz(func(t *testing.T, which byte, at int, patch, wal []byte) {
		path := filepath.Join(t.TempDir(), "fuzz.db")
		b := slices.Clone(bodies[int(which)%len(bodies)])
		copy(b[min(max(at, 0), len(b)):], patch)
		for name, body := range map[string][]byte{"": b, "-wal": wal} {
			if err := os.WriteFile(path+name, body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		l, err := OpenLegacy(path)
		if err != nil {
			return
		}
		for _, sel := range []Select{{Details: true}, {Oldest: true, Filter: &task.Filter{TaskNames: []string{"n*"}}}} {
			readsTyped(t, l, sel)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// addSchema makes the schema of a fixture and two of its rows a seed.
func addSchema(f *testing.F, name string) {
	f.Helper()
	c, err := openFile(legacyFixture(f, f.TempDir(), name), modeRead)
	if err != nil {
		f.Fatal(err)
	}
	defer closeAll(f, closer(c.close))
	var sql [1]driver.Value
	if _, err := c.queryRow(context.Background(), sql[:], "SELECT sql FROM sqlite_schema WHERE name = 'invocations'"); err != nil {
		f.Fatal(err)
	}
	_, columns, _ := strings.Cut(sql[0].(string), "(")
	var quoted []string
	if err := c.each(context.Background(), 1, func(vals []driver.Value) error {
		quoted = append(quoted, "quote("+vals[0].(string)+")")
		return nil
	}, "SELECT name FROM pragma_table_info('invocations')"); err != nil {
		f.Fatal(err)
	}
	var rows []string
	if err := c.each(context.Background(), 1, func(vals []driver.Value) error {
		rows = append(rows, vals[0].(string))
		return nil
	}, "SELECT "+strings.Join(quoted, "||','||")+" FROM invocations LIMIT 2"); err != nil || len(rows) != 2 {
		f.Fatal(len(rows), err)
	}
	f.Add(columns[:strings.LastIndex(columns, ")")], rows[0], rows[1])
}

// Whatever columns, types, defaults and values a legacy table has, opening and
// reading it gives rows or an error.
func FuzzLegacySchema(f *testing.F) {
	f.Add("task_id TEXT PRIMARY KEY, task_name TEXT NOT NULL, state TEXT NOT NULL, received_at REAL, started_at REAL, finished_at REAL, runtime_ms REAL, worker TEXT", "'a', 'n', 'SUCCESS', 1, 2, 3, 1, 'w'", "'b', 'n', 'RETRY', NULL, 'x', 1e300, -1, x'00'")
	f.Add("task_id, task_name, state, finished_at", "1, 2, 3, 4", "NULL, NULL, NULL, NULL")
	f.Add("task_id BLOB, state INT, finished_at DOUBLE DEFAULT 7, worker AS (upper(task_id)) STORED, args_preview", "x'ff', 'SUCCESS', 1795000000.5, 'x'", "'', '', '', ''")
	f.Add("finished_at INTEGER PRIMARY KEY, task_id UNIQUE COLLATE NOCASE, state CHECK (state > 0), \"we'ird\"", "1, 'a', 'FAILURE', 1", "2, 'A', 'success', 2")
	for _, name := range []string{"gen0-small.db", "gen1-small.db"} {
		addSchema(f, name)
	}
	f.Fuzz(func(t *testing.T, columns, first, second string) {
		for _, s := range []string{columns, first, second} {
			if strings.ContainsAny(s, ";\x00") || strings.Contains(strings.ToLower(s), "blob(") || strings.Contains(strings.ToLower(s), "select") {
				return // more than columns and values
			}
		}
		path := filepath.Join(t.TempDir(), "fuzz.db")
		c, err := openFile(path, modeCreate)
		if err != nil {
			t.Fatal(err)
		}
		made := c.script("CREATE TABLE invocations (" + columns + ")")
		for _, values := range []string{first, second} {
			if made == nil {
				_ = c.script("INSERT INTO invocations VALUES (" + values + ")") // or fewer rows
			}
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
		l, err := OpenLegacy(path)
		if err != nil {
			return
		}
		for _, s := range []Select{{Details: true}, {Oldest: true, Filter: &task.Filter{TaskNames: []string{"n*"}, States: []task.State{task.StateSuccess}}}} {
			readsTyped(t, l, s)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
