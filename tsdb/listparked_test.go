package tsdb

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// someParked parks most of some open invocations of all kinds. A few of those that are
// parked are in the head again, one of them finished.
func someParked(t *testing.T, r *rand.Rand) *DB {
	t.Helper()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.OpenTimeout, o.WALSync = 100*time.Hour, "never"
	db := start(t, o)
	event := func(n int) Record {
		e := task.Event{TaskID: fmt.Sprint("p", n), TaskName: []string{"", "a.one", "a.two", "b", rollup.Other}[r.IntN(5)], At: noon.Add(-time.Duration(r.IntN(3000)) * time.Second).UnixMicro(),
			State: []task.State{task.StateSent, task.StateReceived, task.StateStarted, task.StateRetry}[r.IntN(4)], Retries: int32(r.IntN(3)),
			Worker: []string{"", "w1@h1", "w2@h1", "w3@h2"}[r.IntN(4)], Queue: []string{"", "q1", "q2"}[r.IntN(3)], RootID: []string{"", "p1", "p2"}[r.IntN(3)],
			ExceptionType: []string{"", "E1", "E2"}[r.IntN(3)], Args: []string{"", "('first',)", "('second',)"}[r.IntN(3)]}
		return Record{Invocation: e.Invocation()}
	}
	const rows = 1600 // several pages
	for n := 0; n < rows; {
		var recs []Record
		for range 200 {
			recs = append(recs, event(n))
			n++
		}
		mustAppend(t, db, recs...)
		if n == rows {
			break
		}
		if _, err := db.compact.Park(context.Background(), db.cuttable(), 200, true); err != nil {
			t.Fatal(err)
		}
	}
	for range 40 {
		mustAppend(t, db, event(r.IntN(rows)))
	}
	mustAppend(t, db, finished("p7", noon))
	return db
}

// A listing and a count of what is parked are what rows that are decoded whole, one
// after the other, say.
func TestListingsOfParkedAgainstRows(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(11, 27))
	db := someParked(t, r)
	defer db.Close()
	parked := db.compact.Parked()
	snap := db.head.Snapshot()
	all := map[string]task.Invocation{}
	if err := parked.Scan(ctx, nil, true, func(v *task.Invocation) (bool, error) {
		all[v.TaskID] = *v
		return true, nil
	}); err != nil || len(all) < 1400 {
		t.Fatal(len(all), err)
	}
	for _, v := range snap.All() {
		all[v.TaskID] = *v
	}
	pick := func(of ...string) []string {
		if r.IntN(3) > 0 {
			return nil
		}
		return []string{of[r.IntN(len(of))], of[r.IntN(len(of))]}
	}
	some := func() bool { return r.IntN(6) == 0 }
	found := 0
	for i := range 600 {
		if i == 100 { // until then nothing is counted
			if err := parked.Count(ctx); err != nil {
				t.Fatal(err)
			}
		}
		q := Query{Oldest: r.IntN(2) == 0, Details: true}
		q.TaskNames, q.Workers, q.Queues = pick("", "a.one", "a.*", "b*", rollup.Other, "nosuch", "no*"), pick("w1@h1", "w3@h2", "nosuch"), pick("q1", "nosuch")
		q.Open = some()
		if some() {
			q.States = []task.State{task.StateSent, task.StateRetry, task.StateSuccess}[r.IntN(3):]
		}
		if some() {
			q.WorkerGroup = []string{"w1", "w", "nosuch"}[r.IntN(3)]
		}
		if some() {
			q.ExceptionType = "E1"
		}
		if some() {
			q.RootID = "p1"
		}
		if some() {
			q.MinRetries = int32(r.IntN(3))
		}
		if some() {
			q.From = noon.Add(-time.Duration(r.IntN(3000)) * time.Second).UnixMicro()
		}
		if some() {
			q.To = noon.Add(-time.Duration(r.IntN(3000)) * time.Second).UnixMicro()
		}
		if some() {
			q.OpenBefore = noon.Add(-time.Duration(r.IntN(3000)) * time.Second).UnixMicro()
		}
		if some() {
			words, err := text.Parse([]string{"second", "nosuchword"}[r.IntN(2)])
			if err != nil {
				t.Fatal(err)
			}
			q.Text = words
		}
		if some() {
			v := all[fmt.Sprint("p", r.IntN(len(all)))]
			k := v.Key()
			q.After = &k
		}
		var want []*task.Invocation
		for _, v := range all {
			if q.matches(&v) && (q.After == nil || follows(v.Key(), *q.After, q.Oldest)) {
				want = append(want, &v)
			}
		}
		sortRows(want, q.Oldest)
		found += len(want)
		got, err := db.memoryRows(ctx, &q, &snap, 0)
		same := func(a, b *task.Invocation) bool {
			return sameKnowledge(*a, *b) && slices.Equal(a.Transitions, b.Transitions)
		}
		if err != nil || !slices.EqualFunc(got, want, same) {
			t.Fatalf("%+v: %d rows, want %d: %v", q, len(got), len(want), err)
		}
	}
	if found < 1000 {
		t.Errorf("%d rows were found in all", found)
	}
	for by, key := range CountBy {
		want := map[string]int64{}
		for _, v := range all {
			if v.Open() {
				want[key(&v)]++
			}
		}
		count, err := db.Count(ctx, CountQuery{Filter: task.Filter{Open: true}, By: by})
		got := map[string]int64{}
		for _, g := range count.Groups {
			got[g.Key] = g.Count
		}
		if err != nil || !count.Complete || !maps.Equal(got, want) {
			t.Errorf("by %s: %v, want %v: %v", by, got, want, err)
		}
	}
}

// Of tasks of which nothing is parked no parked row is read, nor of all that is open for
// how many there are: they are known by name and state.
func TestNoParkedRowIsRead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := someParked(t, rand.New(rand.NewPCG(3, 9)))
	defer db.Close()
	parked := db.compact.Parked()
	if err := parked.Count(ctx); err != nil {
		t.Fatal(err)
	}
	counts := func() (out []Count) {
		t.Helper()
		for _, by := range []string{"", "task_name", "state"} {
			count, err := db.Count(ctx, CountQuery{Filter: task.Filter{Open: true}, By: by})
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, count)
		}
		return out
	}
	before := counts()
	file, err := sql.Open("sqlite3", parked.Path())
	if err != nil {
		t.Fatal(err)
	}
	// Whoever reads a row meets this, but for those that the head holds, too.
	snap := db.head.Snapshot()
	held, args := "''", []any(nil)
	for _, v := range snap.All() {
		held, args = held+",?", append(args, v.TaskID)
	}
	_, err = file.Exec("UPDATE parked SET data = x'00' WHERE id NOT IN ("+held+")", args...)
	if err2 := file.Close(); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	list := func(names ...string) {
		t.Helper()
		for _, open := range []bool{false, true} {
			if _, err := db.Select(ctx, Query{Filter: task.Filter{TaskNames: names, Open: open}, Limit: 10}); err != nil {
				t.Fatal(err)
			}
		}
	}
	list("nosuch")
	list("nosuch", "no.such.*", "c*")
	after := counts()
	for i := range before {
		if before[i].Total == 0 || after[i].Total != before[i].Total || !slices.Equal(after[i].Groups, before[i].Groups) {
			t.Errorf("%+v, before %+v", after[i], before[i])
		}
	}
	if err := parked.Damage(); err != nil {
		t.Errorf("a row was read: %v", err)
	}
	if list("nosuch", "a.*"); parked.Damage() == nil {
		t.Error("no row was read of a task of which some are parked")
	}
}
