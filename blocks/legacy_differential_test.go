package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// Random queries give what filtering all rows in memory gives, in order and
// across pages: for the fixtures, and for generated files that are worse.
func TestLegacyDifferential(t *testing.T) {
	dir := t.TempDir()
	paths := []string{}
	for _, name := range legacyFixtures {
		paths = append(paths, legacyFixture(t, dir, name))
	}
	for seed := range uint64(6) {
		paths = append(paths, hostileLegacy(t, filepath.Join(dir, fmt.Sprintf("hostile%d.db", seed)), seed, 400, 900, 1<<40))
	}
	for n, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(n), 99))
			truth := naiveLegacy(t, path)
			// Before and after the side is there: a query by name does without it.
			for i := range 3 {
				fresh := openLegacy(t, path)
				if i == 2 {
					if err := fresh.Prepare(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				for range rounds(12) {
					compareLegacy(t, fresh, truth, r)
				}
			}
			for range rounds(12) {
				compareLegacy(t, openLegacy(t, path), truth, r)
			}
		})
	}
}

// compareLegacy asks one random question.
func compareLegacy(t *testing.T, l *Legacy, truth []task.Invocation, r *rand.Rand) {
	t.Helper()
	s := Select{Filter: randomLegacyFilter(r, truth), Oldest: r.IntN(2) == 0, Details: r.IntN(2) == 0}
	hidden := map[string]bool{}
	if r.IntN(4) == 0 {
		for range 20 {
			hidden[truth[r.IntN(len(truth))].TaskID] = true
		}
		s.Skip = func(id string, hash uint64) bool { return hidden[id] && hash == task.HashID(id) }
	}
	var want []string
	for i := range truth {
		v := truth[i]
		if s.Filter.Match(&v) && !hidden[v.TaskID] {
			if !s.Details {
				withoutLegacyDetails(&v)
			}
			want = append(want, jsonOf(v))
		}
	}
	if s.Oldest {
		slices.Reverse(want)
	}
	page := 1 + r.IntN(700)
	var got []string
	for pages := 0; ; pages++ {
		if pages > len(truth)+1 {
			t.Fatal("the walk does not end")
		}
		n := 0
		err := l.Select(context.Background(), s, func(v *task.Invocation) (bool, error) {
			got = append(got, jsonOf(*v))
			key := v.Key()
			s.After = &key
			n++
			return n < page, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n < page {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("filter %+v oldest %v page %d: %d rows, want %d\nfirst difference: %s", *s.Filter, s.Oldest, page, len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("row %d\n got %s\nwant %s", i, g, w)
		}
	}
	return "none"
}

func randomLegacyFilter(r *rand.Rand, truth []task.Invocation) *task.Filter {
	f := &task.Filter{}
	pick := func() *task.Invocation { return &truth[r.IntN(len(truth))] }
	some := func() bool { return r.IntN(4) == 0 }
	if some() {
		for range 1 + r.IntN(3) {
			name := pick().TaskName
			if cut := r.IntN(8); cut == 0 && name != "" {
				name = name[:r.IntN(len(name))] + "*"
			} else if cut == 1 {
				name = "no.such"
			}
			f.TaskNames = append(f.TaskNames, name)
		}
	}
	if some() {
		f.States = append(f.States, task.States[r.IntN(len(task.States))], pick().State)
	}
	if some() {
		f.States = []task.State{pick().State}
	}
	if some() {
		f.Workers = append(f.Workers, pick().Worker)
	}
	if some() {
		f.Queues = append(f.Queues, pick().Queue)
	}
	if some() {
		f.WorkerGroup = task.WorkerGroup(pick().Worker)
	}
	if some() {
		f.ExceptionType = pick().Outcome.ExceptionType
	}
	if some() {
		f.From = pick().RowTime() + r.Int64N(3) - 1
	}
	if some() {
		f.To = pick().RowTime() + r.Int64N(3) - 1
	}
	if some() {
		f.HasMinRuntime, f.MinRuntime = true, pick().Outcome.Runtime
	}
	if some() {
		f.HasMaxRuntime, f.MaxRuntime = true, pick().Outcome.Runtime
	}
	switch r.IntN(30) {
	case 0:
		f.Open = true
	case 1:
		f.TaskID = pick().TaskID
	case 2:
		f.MinRetries = 1
	case 3:
		f.RootID = pick().TaskID
	}
	return f
}

// naiveLegacy reads everything at once: all rows of all tables, merged by id,
// newest first.
func naiveLegacy(t *testing.T, path string) []task.Invocation {
	t.Helper()
	l := openLegacy(t, path)
	ctx := context.Background()
	byID := map[string][]legacyPlaced{}
	err := l.pool.with(ctx, func(c *conn) error {
		for _, table := range l.tables {
			var rows []legacyRow
			if err := c.each(ctx, legacyCoreCount, func(vals []driver.Value) error {
				var r legacyRow
				if r.scan(table, vals) {
					rows = append(rows, r)
				}
				return nil
			}, "SELECT "+table.core()+" FROM "+table.name+" AS t"); err != nil {
				return err
			}
			reader := legacyReader{l, c}
			for _, r := range rows {
				at, err := reader.place(ctx, &r)
				if err != nil {
					return err
				}
				if err := reader.details(ctx, &r); err != nil {
					return err
				}
				if at != 0 {
					byID[r.id] = append(byID[r.id], legacyPlaced{r, at})
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []task.Invocation
	for _, rows := range byID {
		v, _ := mergeLegacy(rows)
		plain := rows[0].invocation(rows[0].at)
		for i := range rows {
			one := rows[i].invocation(rows[i].at)
			plain.Merge(&one)
		}
		if v.State != plain.State || v.RowTime() != plain.RowTime() {
			t.Errorf("%s is %s, merged as any statements it is %s", v.TaskID, jsonOf(v), jsonOf(plain))
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b task.Invocation) int { return b.Key().Compare(a.Key()) })
	return out
}

// Every row is found by each thing that is true of it, in both directions,
// once: also those of tasks with ends in several tables at one time.
func TestLegacyEveryRow(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(rounds(12)) {
		path := hostileLegacy(t, filepath.Join(dir, fmt.Sprintf("hostile%d.db", seed)), seed, 20, 25, 4)
		truth := naiveLegacy(t, path)
		l := openLegacy(t, path)
		for i := range truth {
			for what, f := range legacyFacts(&truth[i]) {
				for _, oldest := range []bool{false, true} {
					findLegacyRow(t, l, &truth[i], f, oldest, fmt.Sprintf("seed %d by %s", seed, what))
				}
			}
		}
	}
}

// legacyFacts are filters that a row matches, at its time.
func legacyFacts(v *task.Invocation) map[string]*task.Filter {
	facts := map[string]*task.Filter{
		"state": {States: []task.State{v.State}},
		"other": {States: []task.State{v.State, task.StateRetry}},
		"name":  {TaskNames: []string{v.TaskName}},
		"group": {WorkerGroup: task.WorkerGroup(v.Worker)},
		"place": {Workers: []string{v.Worker}, Queues: []string{v.Queue}},
		"error": {ExceptionType: v.Outcome.ExceptionType, States: []task.State{v.State}},
	}
	if v.TaskName != "" {
		facts["prefix"] = &task.Filter{TaskNames: []string{v.TaskName[:1] + "*"}}
	}
	if v.Outcome.HasRuntime {
		facts["runtime"] = &task.Filter{HasMinRuntime: true, MinRuntime: v.Outcome.Runtime, HasMaxRuntime: true, MaxRuntime: v.Outcome.Runtime}
	}
	for what, f := range facts {
		if f.From, f.To = v.RowTime(), v.RowTime()+1; !f.Match(v) {
			delete(facts, what) // the empty name is not asked for
		}
	}
	return facts
}

func findLegacyRow(t *testing.T, l *Legacy, want *task.Invocation, f *task.Filter, oldest bool, what string) {
	t.Helper()
	n := 0
	err := l.Select(context.Background(), Select{Filter: f, Oldest: oldest, Details: true}, func(v *task.Invocation) (bool, error) {
		if v.TaskID == want.TaskID {
			n++
			if got := jsonOf(*v); got != jsonOf(*want) {
				t.Errorf("%s: got %s\nwant %s", what, got, jsonOf(*want))
			}
		}
		return true, nil
	})
	if err != nil || n != 1 {
		t.Fatalf("%s: %d times (%v): %s", what, n, err, jsonOf(*want))
	}
}

// hostileLegacy makes a file with everything that can be wrong with rows:
// several tables with the same ids, runs of one microsecond, times of any
// kind, texts of any kind, a table without indexes.
// ids and times bound how many there are to choose from: few make them meet.
func hostileLegacy(t *testing.T, path string, seed uint64, rows, ids, times int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 5))
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	b.WriteString("BEGIN;")
	tables := []string{"invocations", "invocations_legacy", "invocations_20261118", "invocations_20261119", "invocations_20261120"}
	if seed%3 == 2 {
		tables = tables[:1]
	}
	base := 1794900000.0
	for _, table := range tables {
		fmt.Fprintf(&b, "CREATE TABLE %s (task_id TEXT PRIMARY KEY, task_name TEXT NOT NULL, state TEXT NOT NULL, received_at REAL, started_at REAL, finished_at REAL, runtime_ms REAL, worker TEXT, queue TEXT, exception_type TEXT);", table)
		if table != "invocations" || seed%2 == 0 {
			fmt.Fprintf(&b, "CREATE INDEX i_%s_f ON %s(finished_at); CREATE INDEX i_%s_n ON %s(task_name, finished_at);", table, table, table, table)
		}
		suffix := strings.TrimPrefix(table, "invocations")
		fmt.Fprintf(&b, "CREATE TABLE invocation_details%s (task_id TEXT PRIMARY KEY, args_preview TEXT, kwargs_preview TEXT, traceback_snippet TEXT);", suffix)
		for range rows {
			id := fmt.Sprintf("id-%d", r.IntN(ids))
			at := func() string {
				switch r.IntN(12) {
				case 0:
					return one("NULL", "'text'", "x'00'", "-1", "0", "1e-7", "9e99", "9e999", "253402300799.5", "1e12")
				case 1:
					return "1794950000.25"
				case 2:
					return "1794950000"
				}
				return fmt.Sprintf("%.7f", base+float64(r.IntN(times))*200_000/float64(times))
			}
			finished, state := at(), one("SUCCESS", "SUCCESS", "SUCCESS", "FAILURE", "RETRY", "RETRY")
			if state == "RETRY" && r.IntN(8) > 8-min(times, 8) || r.IntN(20) == 0 {
				finished = "NULL"
			}
			quoted := "'" + id + "'"
			if r.IntN(40) == 0 {
				quoted = one("NULL", "x'1234'", "''", "CAST(x'ff' AS TEXT)", "CAST(x'610062' AS TEXT)", "'"+strings.Repeat("n", 300)+"'")
			}
			if r.IntN(60) == 0 {
				state = one("", "STARTED", "success", "REVOKED")
			}
			text := func(list ...string) string {
				if r.IntN(15) == 0 {
					return one("NULL", "''", "CAST(x'6100ff62' AS TEXT)", "7", "x'4142'", "'"+strings.Repeat("w", 600)+"'")
				}
				return "'" + one(list...) + "'"
			}
			name := text("shop.mail", "shop.pay", "unknown", "a.b", "zz")
			if table == "invocations" && r.IntN(10) == 0 {
				name, quoted = "'a.only'", fmt.Sprintf("'only-%d'", r.IntN(ids)) // no other table has the name
			}
			if name == "NULL" {
				name = "''"
			}
			fmt.Fprintf(&b, "INSERT OR REPLACE INTO %s VALUES (%s, %s, '%s', %s, %s, %s, %s, %s, %s, %s);", table, quoted, name, state, at(), at(), finished,
				one("NULL", "'x'", "-5", "12.5", "100", "1e300", fmt.Sprint(r.Float64()*5000)), text("w1@a", "w2@b"), text("q1", "q2"), text("KeyError", "ValueError"))
			if r.IntN(2) == 0 {
				fmt.Fprintf(&b, "INSERT OR REPLACE INTO invocation_details%s VALUES ('%s', %s, %s, %s);", suffix, id, text("(1,)"), text("{}"), text("Traceback"))
			}
		}
	}
	b.WriteString("COMMIT;")
	return legacyScript(t, path, b.String())
}
