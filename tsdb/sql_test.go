package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// sqlRows are the rows of a query, each as one text.
func sqlRows(t testing.TB, s *SQL, query string) []string {
	t.Helper()
	rows, err := s.Query(context.Background(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var out []string
	for {
		vals, err := rows.Next()
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if vals == nil {
			return out
		}
		text := ""
		for i, name := range rows.Columns() {
			if vals[i] != nil {
				text += fmt.Sprintf("%s=%v ", name, vals[i])
			}
		}
		out = append(out, text)
	}
}

// shownBySQL is an invocation as the view `invocations` has it.
func shownBySQL(v *task.Invocation) string {
	var b strings.Builder
	add := func(name string, value any) { fmt.Fprintf(&b, "%s=%v ", name, value) }
	text := func(name, s string) {
		if s != "" {
			add(name, s)
		}
	}
	at := func(name string, us int64) {
		if us != 0 {
			add(name, time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z"))
		}
	}
	text("task_id", v.TaskID)
	text("task_name", v.TaskName)
	text("state", v.State.String())
	at("sent_at", v.SentAt)
	at("received_at", v.ReceivedAt)
	at("started_at", v.StartedAt)
	at("finished_at", v.FinishedAt)
	at("updated_at", max(v.UpdatedAt, v.GivenUpAt))
	if v.Outcome.HasRuntime {
		add("runtime_ms", float64(v.Outcome.Runtime)/1000)
	}
	text("worker", v.Worker)
	text("worker_group", task.WorkerGroup(v.Worker))
	text("queue", v.Queue)
	text("exception_type", v.Outcome.ExceptionType)
	add("retries", v.Retries)
	at("eta", v.ETA)
	at("expires", v.Expires)
	text("root_id", v.RootID)
	text("parent_id", v.ParentID)
	givenUp := 0
	if v.GivenUpAt != 0 {
		givenUp = 1
	}
	add("given_up", givenUp)
	text("day", v.Day().String())
	text("args", v.Args)
	text("kwargs", v.Kwargs)
	text("result", v.Outcome.Result)
	text("exception_message", v.Outcome.ExceptionMessage)
	text("traceback", v.Outcome.Traceback)
	return b.String()
}

// sqlAll has every column but seq, which is no part of an invocation.
const sqlAll = "SELECT task_id, task_name, state, sent_at, received_at, started_at, finished_at, updated_at, runtime_ms, worker, worker_group, queue, exception_type, retries, eta, expires, root_id, parent_id, given_up, day, args, kwargs, result, exception_message, traceback FROM invocations"

// sqlDiffers compares what SQL shows of a range with invocations; "" if it is the same.
func sqlDiffers(t testing.TB, db *DB, from, to int64, all []task.Invocation) string {
	t.Helper()
	s, err := db.OpenSQL(context.Background(), from, to)
	if err != nil {
		return err.Error()
	}
	defer s.Close()
	want := map[string]string{}
	counts := map[string]int{}
	for _, v := range all {
		if at := v.RowTime(); at >= from && (to == 0 || at < to) {
			text := shownBySQL(&v)
			want[text] = v.TaskID
			counts[v.State.String()]++
		}
	}
	total := len(want)
	for _, row := range sqlRows(t, s, sqlAll) {
		if _, ok := want[row]; !ok {
			return "not to be there: " + row
		}
		delete(want, row)
	}
	for row := range want {
		return "missing: " + row
	}
	ordered := slices.SortedFunc(slices.Values(all), func(a, b task.Invocation) int { return b.Key().Compare(a.Key()) })
	ordered = slices.DeleteFunc(ordered, func(v task.Invocation) bool { return v.RowTime() < from || to != 0 && v.RowTime() >= to })
	for i, row := range sqlRows(t, s, "SELECT task_id FROM invocations ORDER BY day DESC, seq DESC") {
		if row != "task_id="+ordered[i].TaskID+" " {
			return fmt.Sprintf("%s is in place %d of %s", row, i, ordered[i].TaskID)
		}
	}
	if n := sqlRows(t, s, "SELECT count(*) AS n FROM invocations")[0]; n != fmt.Sprintf("n=%d ", total) {
		return fmt.Sprintf("count(*) is %s, want %d", n, total)
	}
	for _, row := range sqlRows(t, s, "SELECT state AS s, count(*) AS n FROM invocations GROUP BY 1") {
		var state string
		var n int
		if _, err := fmt.Sscanf(row, "s=%s n=%d", &state, &n); err != nil || counts[state] != n {
			return fmt.Sprintf("%s, want %d %v", row, counts[state], err)
		}
	}
	return ""
}

// checkSQL compares the rows of a random range with those of Select.
func (m *model) checkSQL(all []task.Invocation) {
	from, to := int64(0), int64(0)
	if m.r.IntN(2) == 0 {
		from = m.c.now().UnixMicro() - m.r.Int64N(4*24*3600*1_000_000)
		to = oneOf(m.r, 0, from+m.r.Int64N(3*24*3600*1_000_000)+1)
	}
	s, err := m.db.OpenSQL(context.Background(), from, to)
	if many := new(*blocks.TooManyFilesError); errors.As(err, many) {
		// Today and the two days before have six files at most, tomorrow two more.
		from, to = m.c.now().Add(-48*time.Hour).UnixMicro(), 0
	} else if err != nil {
		m.failf("sql over %s to %s: %v", stamp(from), stamp(to), err)
	} else if err := s.Close(); err != nil {
		m.failf("sql: %v", err)
	}
	if diff := sqlDiffers(m.t, m.db, from, to, all); diff != "" {
		m.failf("sql over %s to %s: %s", stamp(from), stamp(to), diff)
	}
}

// Every generation of a legacy database shows the same through SQL as through
// Select, alone and beside days that know some of its ids.
func TestSQLLegacy(t *testing.T) {
	t.Parallel()
	for name := range expectations(t) {
		if testing.Short() && !slices.Contains([]string{"gen0-small.db", "gen2-crash-small.db", "gen3-rollback-small.db"}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := fixture(t, name, t.TempDir())
			before := digest(t, path)
			c := &testClock{at: noon}
			o := testOptions(t.TempDir(), c)
			o.Legacy, o.RetentionTime, o.MaxPast = []string{path}, 0, 10*365*24*time.Hour
			db := start(t, o)
			m := &model{t: t, db: db}
			all := m.all(Query{Limit: 1000, Details: true})
			if diff := sqlDiffers(t, db, 0, 0, all); diff != "" {
				t.Fatal(diff)
			}
			mid := all[len(all)/2].RowTime()
			if diff := sqlDiffers(t, db, mid, mid+3600*1_000_000, all); diff != "" {
				t.Fatal(diff)
			}
			for _, seal := range []bool{false, true} {
				// Some of them get on, each time by something else.
				var recs []Record
				for i := 0; i < len(all); i += 1 + len(all)/50 {
					e := task.Event{TaskID: all[i].TaskID, State: task.StateSuccess, At: all[i].RowTime() + int64(i)*1_000_000, Worker: fmt.Sprint("w@", seal), TaskName: "t", Retries: task.RetriesUnknown}
					recs = append(recs, Record{Invocation: e.Invocation()})
				}
				mustAppend(t, db, recs[:len(recs)/2]...)
				if _, err := db.Cut(context.Background(), seal); err != nil {
					t.Fatal(err)
				}
				mustAppend(t, db, recs...)
				all = m.all(Query{Limit: 1000, Details: true})
				s, err := db.OpenSQL(context.Background(), 0, 0)
				var many *blocks.TooManyFilesError
				if errors.As(err, &many) {
					continue // a few dozen days, and this SQLite takes ten
				}
				if err == nil {
					err = s.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := sqlDiffers(t, db, 0, 0, all); diff != "" {
					t.Fatal(diff)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if digest(t, path) != before {
				t.Error("the legacy file was changed")
			}
		})
	}
}
