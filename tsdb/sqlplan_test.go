package tsdb

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// The view is flattened into the question over it: its order is that of the keys, and
// conditions reach each file. SQLite gives that up, and says nothing, when a column
// has a type in one arm and none in another.
func TestSQLIsFlattened(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.Legacy, o.RetentionTime, o.MaxPast = []string{fixture(t, "gen2-crash-small.db", t.TempDir())}, 0, 10*365*24*time.Hour
	db := start(t, o)
	put := func(id string, at time.Time) {
		e := task.Event{TaskID: id, TaskName: "t", State: task.StateSuccess, At: at.UnixMicro(), Worker: "w@h", Retries: task.RetriesUnknown}
		mustAppend(t, db, Record{Invocation: e.Invocation()})
	}
	put("sealed", noon.Add(-24*time.Hour))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	put("live", noon.Add(-time.Hour))
	put("late", noon.Add(-25*time.Hour))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	put("in the head", noon)
	s, err := db.OpenSQL(ctx, noon.Add(-48*time.Hour).UnixMicro(), 0)
	if err != nil {
		t.Fatal(err)
	}
	old, err := db.OpenSQL(ctx, 0, noon.Add(-48*time.Hour).UnixMicro())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, x := range []*SQL{s, old} {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, view := range []*SQL{s, old} {
		for _, where := range []string{"", "WHERE task_name = 't' ", "WHERE task_id = 'x' "} {
			query := "SELECT * FROM invocations " + where + "ORDER BY day DESC, seq DESC LIMIT 20"
			plan := strings.Join(sqlRows(t, view, "EXPLAIN QUERY PLAN "+query), "\n")
			if strings.Contains(plan, "CO-ROUTINE") || strings.Contains(plan, "MATERIALIZE") || !strings.Contains(plan, "daybook_memory") && !strings.Contains(plan, "SCAN m") {
				t.Errorf("%s:\n%s", query, plan)
			}
		}
	}
	if n := len(sqlRows(t, s, fmt.Sprintf("SELECT task_id FROM invocations WHERE day >= '%s'", noon.Add(-48*time.Hour).Format(time.DateOnly)))); n != 4 {
		t.Errorf("%d rows", n)
	}
}
