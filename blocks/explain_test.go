package blocks

import (
	"context"
	"database/sql/driver"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

var update = flag.Bool("update", false, "rewrite testdata/explain.golden")

// The plan of every statement that a Select or a Lookup can run is written
// down and reviewed; none sorts, none materialises, and only a scan by key,
// the small dictionaries and the names of a JSON list are scanned.
func TestExplain(t *testing.T) {
	sh := newShelf(t)
	rows := explainRows(testDay)
	files := DayFiles{Day: testDay, Sealed: sh.sealed(testDay, 1, rows, nil), Live: sh.live(testDay, rows[:80], nil, nil)}
	old := oldSealed(t, "version2", t.TempDir())
	pool := NewPool(PoolOptions{Conns: 1})
	t.Cleanup(pool.Close)
	s, err := pool.acquire(context.Background(), append(files.attachments(), attachment{old.Path(), modeImmutable})...)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.release(s, nil)

	var out strings.Builder
	for _, q := range explainQueries(t, s, files, s.schema(old.Path())) {
		fmt.Fprintf(&out, "%s\n%s\n----\n", q.name, q.text)
		for _, line := range planOf(t, s.c, q) {
			fmt.Fprintln(&out, line)
			for _, bad := range []string{"TEMP B-TREE", "MATERIALIZE", "CO-ROUTINE", "AUTOMATIC"} {
				if strings.Contains(line, bad) {
					t.Errorf("%s: %s", q.name, line)
				}
			}
			if strings.Contains(line, "SCAN") && !q.mayScan(line) {
				t.Errorf("%s is not found by an index: %s", q.name, line)
			}
		}
		fmt.Fprintln(&out)
	}

	golden := filepath.Join("testdata", "explain.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != out.String() {
		t.Errorf("the plans differ from %s; if that is right, run the test with -update and review the change\n%s", golden, out.String())
	}
}

// explained is a statement and what it may scan.
type explained struct {
	name, text string
	args       []driver.Value
	scans      []string
}

func (q explained) mayScan(line string) bool {
	for _, s := range q.scans {
		if strings.HasSuffix(line, s) || strings.Contains(line, "SCAN "+s+" ") {
			return true
		}
	}
	return strings.Contains(line, "SCAN json_each")
}

func explainRows(day task.Day) []task.Invocation {
	var rows []task.Invocation
	for i := range 200 {
		e := task.Event{TaskID: fmt.Sprintf("id-%d", i), TaskName: fmt.Sprintf("app.task%d", i%39), At: day.Start() + int64(i)*1000,
			State: task.States[5+i%3], Worker: fmt.Sprintf("celery@w%d", i%3), Queue: fmt.Sprintf("q%d", i%5), ExceptionType: []string{"ValueError", "KeyError", "OSError", "TypeError"}[i%4], Retries: task.RetriesUnknown}
		rows = append(rows, e.Invocation())
	}
	return rows
}

// explainQueries are the statements for filters of every shape.
func explainQueries(t *testing.T, s *session, d DayFiles, old string) []explained {
	t.Helper()
	ctx := context.Background()
	sealed, live := s.schema(d.Sealed.Path()), s.schema(d.Live.Path())
	fail := []task.State{task.StateFailure, task.StateRevoked}
	filters := []struct {
		name string
		f    task.Filter
	}{
		{"all", task.Filter{}},
		{"time", task.Filter{From: d.Day.Start() + 5, To: d.Day.End() - 5}},
		{"one name", task.Filter{TaskNames: []string{"app.task1"}}},
		{"two names", task.Filter{TaskNames: []string{"app.task1", "app.task2"}}},
		{"no name", task.Filter{TaskNames: []string{""}}},
		{"prefix of many names", task.Filter{TaskNames: []string{"app.*"}}},
		{"failures", task.Filter{States: fail}},
		{"success", task.Filter{States: []task.State{task.StateSuccess}}},
		{"success and failure", task.Filter{States: []task.State{task.StateSuccess, task.StateFailure}}},
		{"failures of a name", task.Filter{States: fail, TaskNames: []string{"app.task3"}}},
		{"success of a name", task.Filter{States: []task.State{task.StateSuccess}, TaskNames: []string{"app.task3"}}},
		{"failures of many names", task.Filter{States: fail, TaskNames: []string{"app.*"}}},
		{"exception", task.Filter{ExceptionType: "ValueError"}},
		{"exception of a name", task.Filter{ExceptionType: "ValueError", TaskNames: []string{"app.task2"}}},
		{"open", task.Filter{Open: true, OpenBefore: d.Day.Start() + 10}},
		{"worker", task.Filter{Workers: []string{"celery@w1"}}},
		{"workers and none", task.Filter{Workers: []string{"celery@w1", "celery@w2", ""}}},
		{"group", task.Filter{WorkerGroup: "w1"}},
		{"queue, runtime, retries, root", task.Filter{Queues: []string{"q1"}, HasMinRuntime: true, HasMaxRuntime: true, MaxRuntime: 5, MinRetries: 1, RootID: "r"}},
	}
	var out []explained
	for _, f := range filters {
		for _, shape := range []struct {
			name, schema, mask string
			oldest             bool
		}{{"sealed, newest", sealed, "", false}, {"sealed under an overlay, oldest", sealed, live, true}, {"live, newest", live, "", false}} {
			r, err := resolver{s.c, shape.schema}.resolve(ctx, &f.f, d.Day)
			if err != nil || r.none {
				t.Fatalf("%s: resolving: %v, none %v", f.name, err, r.none)
			}
			arms, rest := r.arms()
			text, args := "", []driver.Value(nil)
			if arms[0].index != byName {
				text, args = arms[0].text(shape.schema, shape.mask, rest, span{0, 1 << 62}, shape.oldest, 0)
			} else {
				old, oldArgs := arms[0].text(old, shape.mask, rest, span{0, 1 << 62}, shape.oldest, 0)
				out = append(out, explained{name: fmt.Sprintf("%s (%s, version 2; %d arms)", f.name, shape.name, len(arms)), text: old, args: oldArgs})
				text, args = arms[0].ofTimes(shape.schema, shape.mask, rest, span{0, 1 << 62}, 0)
				args = append([]driver.Value{"[1,2]"}, args...)
			}
			q := explained{name: fmt.Sprintf("%s (%s; %d arms)", f.name, shape.name, len(arms)), text: text, args: args}
			if strings.Contains(text, "NOT INDEXED") {
				q.scans = []string{"i"}
			}
			out = append(out, q)
			if f.name != "all" && f.name != "two names" && f.name != "failures of a name" {
				continue
			}
			arms, rest = r.scan()
			arms[0].whole = false
			for _, where := range [][2]string{{"where words may be", ofChunks}, {"whose texts match", ofDetails}} {
				rest := conds{text: slices.Clone(rest.text), args: slices.Clone(rest.args)}
				rest.add(where[1], "[1,2]")
				text, args = arms[0].text(shape.schema, shape.mask, rest, span{0, 1 << 62}, shape.oldest, 0)
				out = append(out, explained{name: fmt.Sprintf("%s, %s (%s)", f.name, where[0], shape.name), text: text, args: args, scans: []string{"i"}})
			}
		}
	}
	return append(out,
		explained{name: "dictionary", text: "SELECT id FROM " + sealed + ".task_name WHERE name = ?", args: []driver.Value{"x"}},
		explained{name: "dictionary by prefix", text: "SELECT id FROM " + sealed + ".task_name WHERE name >= ? AND name < ?", args: []driver.Value{"x", "y"}},
		explained{name: "dictionary by group", text: "SELECT id FROM " + sealed + ".worker WHERE worker_group = ?", args: []driver.Value{"x"}, scans: []string{"worker"}},
		explained{name: "end of a run", text: "SELECT key FROM " + sealed + ".invocation WHERE key >= ? ORDER BY key", args: []driver.Value{int64(1)}},
		explained{name: "state of the overlay's id runs", text: "SELECT ifnull(max(id), 0) FROM " + live + ".id_page"},
		explained{name: "page of an id run", text: "SELECT data FROM " + live + ".id_page WHERE id = ?", args: []driver.Value{int64(1)}},
		explained{name: "row of an overlay", text: "SELECT task_id FROM " + live + ".invocation WHERE key = ?", args: []driver.Value{int64(1)}},
		explained{name: "page of an id filter", text: "SELECT substr(bits, ?, ?) FROM " + sealed + ".id_filter WHERE page = ?", args: []driver.Value{int64(1), int64(64), int64(0)}},
		explained{name: "chunk of details", text: "SELECT data FROM " + sealed + ".chunk WHERE id = ?", args: []driver.Value{int64(1)}},
		explained{name: "is there a table of words", text: hasWordsText(sealed), scans: []string{"sqlite_schema"}},
		explained{name: "are the words those of all cuts", text: wordsCurrentText(live), scans: []string{"cut", "CONSTANT"}},
		explained{name: "groups of words", text: groupsText(live), args: []driver.Value{int64(0), int64(0), int64(5)}},
		explained{name: "spans of a group", text: spansText(sealed), args: []driver.Value{int64(1)}},
		explained{name: "page of words", text: wordPageText(sealed), args: []driver.Value{int64(1)}},
		explained{name: "number of names", text: namesText(sealed), scans: []string{"CONSTANT"}},
		explained{name: "key of an id", text: keysByID.within(sealed), args: []driver.Value{int64(0), int64(5), "x"}},
		explained{name: "look-up by id", text: rowsByID.within(sealed), args: []driver.Value{int64(0), int64(5), "x"}},
		explained{name: "runs of names", text: nameRunsText(live), args: []driver.Value{int64(0), int64(5)}, scans: []string{"name_run"}},
		explained{name: "head of a page of names", text: nameHeadText(sealed), args: []driver.Value{int64(1)}},
		explained{name: "page of names", text: namePageText(sealed), args: []driver.Value{int64(1)}},
		explained{name: "page of ids", text: idPageText(sealed), args: []driver.Value{int64(1)}},
	)
}

func planOf(t *testing.T, c *conn, q explained) []string {
	t.Helper()
	var lines []string
	depth := map[int64]int{}
	err := c.each(context.Background(), 4, func(vals []driver.Value) error {
		id, parent := vals[0].(int64), vals[1].(int64)
		depth[id] = depth[parent] + 1
		lines = append(lines, strings.Repeat("  ", depth[parent])+vals[3].(string))
		return nil
	}, "EXPLAIN QUERY PLAN "+q.text, q.args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", q.name, err, q.text)
	}
	return lines
}
