package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// member is an invocation of a workflow, as Celery's events tell of it.
func member(id, root, parent string, state task.State, at time.Time) Record {
	var v task.Invocation
	for i, s := range []task.State{task.StateSent, task.StateReceived, task.StateStarted, state} {
		e := task.Event{TaskID: id, TaskName: "t." + id, RootID: root, ParentID: parent, State: s, At: at.Add(time.Duration(i) * time.Millisecond).UnixMicro(),
			Worker: "w@h", Retries: task.RetriesUnknown}
		if s == task.StateFailure {
			e.ExceptionType = "ValueError"
		}
		x := e.Invocation()
		v.Merge(&x)
		if s == state {
			break
		}
	}
	return Record{Invocation: v}
}

// naiveTree checks a workflow against what its nodes say of their parents.
func naiveTree(t *testing.T, w *Workflow, want map[string]task.Invocation) {
	t.Helper()
	at := map[string]int{}
	for i, n := range w.Nodes {
		if _, twice := at[n.TaskID]; twice {
			t.Fatalf("%s is shown twice", n.TaskID)
		}
		at[n.TaskID] = i
		if _, known := want[n.TaskID]; known != n.Stored || !known && n.TaskID != w.RootID {
			t.Fatalf("%s: stored %t", n.TaskID, n.Stored)
		}
	}
	for id := range want {
		if _, shown := at[id]; !shown {
			t.Fatalf("%s is not shown", id)
		}
	}
	if w.Nodes[0].TaskID != w.RootID || w.Total != len(want) {
		t.Fatalf("%d nodes of %d, the first is %s", w.Total, len(want), w.Nodes[0].TaskID)
	}
	// climb tells how far up an invocation is and what stands at the top. On a
	// cycle, that is the earliest.
	climb := func(id string) (depth int, top string, why Orphan) {
		var way []string
		for ; ; id = want[id].ParentID {
			if id == w.RootID {
				return len(way), id, NotOrphan
			}
			if n := slices.Index(way, id); n >= 0 {
				cycle := way[n:]
				top = slices.MinFunc(cycle, func(a, b string) int {
					x, y := want[a], want[b]
					return x.Key().Compare(y.Key())
				})
				return slices.Index(way, top), top, OrphanCycle
			}
			way = append(way, id)
			v := want[id]
			if v.ParentID == "" || v.ParentID == id {
				return len(way) - 1, id, OrphanNone
			}
			if _, known := want[v.ParentID]; !known && v.ParentID != w.RootID {
				return len(way) - 1, id, OrphanMissing
			}
		}
	}
	for id, i := range at {
		n := &w.Nodes[i]
		depth, top, why := climb(id)
		// One that hangs below a missing root is as deep as below a stored one.
		if n.Depth != depth {
			t.Fatalf("%s: depth %d, want %d below %s", id, n.Depth, depth, top)
		}
		if top != id {
			why = NotOrphan
		}
		if n.Orphan != why {
			t.Fatalf("%s: orphan %q, want %q", id, n.Orphan, why)
		}
		for _, c := range n.Children {
			if child := &w.Nodes[c]; child.ParentID != id || c <= i {
				t.Fatalf("%s is no child of %s", child.TaskID, id)
			}
		}
		if !slices.IsSorted(n.Children) {
			t.Fatalf("%s: children are not in order", id)
		}
		if path := w.Path(i); len(path) != min(depth+1, maxPath) || path[len(path)-1] != i {
			t.Fatalf("%s: path %v", id, path)
		}
	}
}

// TestWorkflowTree builds trees from random parents: forests, missing parents,
// cycles, parents of oneself, with and without the root.
func TestWorkflowTree(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := r.IntN(12)
		want := map[string]task.Invocation{}
		for i := range n {
			v := member(fmt.Sprint("n", i), "n0", "", task.States[r.IntN(len(task.States))], noon.Add(time.Duration(r.IntN(5))*time.Second)).Invocation
			if p := r.IntN(n + 3); p <= n {
				v.ParentID = fmt.Sprint("n", p) // n itself is not there
			}
			want[v.TaskID] = v
		}
		if r.IntN(3) == 0 {
			delete(want, "n0")
		}
		w := Workflow{RootID: "n0"}
		w.build(want)
		// A placeholder for the root adopts its children, as the root does.
		naiveTree(t, &w, want)
		if !slices.IsSortedFunc(w.Broken, func(a, b int) int { return int(w.Nodes[a].RowTime() - w.Nodes[b].RowTime()) }) {
			t.Fatal("not the earliest first")
		}
		for _, i := range w.Broken {
			if s := w.Nodes[i].State; s == task.StateSuccess || !s.Finished() {
				t.Fatalf("it did not break at %s", s)
			}
		}
	}
}

// TestWorkflowPlaces has a chain with a chord in it, over midnight, in the head, in a
// live file, sealed, and sealed again.
func TestWorkflowPlaces(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.Settle = 0
	db := start(t, o)
	defer func() { db.Close() }()
	ctx := context.Background()
	midnight := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	before, after := midnight.Add(-time.Minute), midnight.Add(time.Minute)
	recs := []Record{
		member("root", "root", "root", task.StateSuccess, before), // retried once: its own parent
		member("g1", "root", "root", task.StateSuccess, before.Add(time.Second)),
		member("g2", "root", "root", task.StateStarted, before.Add(2*time.Second)),
		member("body", "root", "g1", task.StateFailure, after),
		member("link", "root", "body", task.StateRevoked, after.Add(time.Second)),
		member("lost", "root", "never-seen", task.StateSuccess, after),
		member("other", "other", "", task.StateSuccess, after),
	}
	check := func(where string, want map[string]task.Invocation) {
		t.Helper()
		w, err := db.Workflow(ctx, "root", MaxWorkflow)
		if err != nil || !w.Complete || w.Truncated || !w.Coverage.Complete {
			t.Fatalf("%s: %v %+v", where, err, w.Coverage)
		}
		naiveTree(t, &w, want)
		for _, n := range w.Nodes {
			if v := want[n.TaskID]; n.State != v.State || n.RowTime() != v.RowTime() || n.Outcome.ExceptionType != v.Outcome.ExceptionType {
				t.Fatalf("%s: %s is %s, want %s", where, n.TaskID, n.State, v.State)
			}
		}
		var broken []string
		for _, i := range w.Broken {
			broken = append(broken, w.Nodes[i].TaskID)
		}
		if !slices.Equal(broken, []string{"body", "link"}) {
			t.Fatalf("%s: it broke at %v", where, broken)
		}
		var path []string
		for _, i := range w.Path(w.Broken[0]) {
			path = append(path, w.Nodes[i].TaskID)
		}
		if !slices.Equal(path, []string{"root", "g1", "body"}) {
			t.Fatalf("%s: by way of %v", where, path)
		}
		if w.First != before.UnixMicro() || w.Last != after.Add(time.Second+3*time.Millisecond).UnixMicro() {
			t.Fatalf("%s: from %s to %s", where, stamp(w.First), stamp(w.Last))
		}
		// The list has the same ones, the root among them.
		page, err := db.Select(ctx, Query{Filter: task.Filter{RootID: "root"}, Limit: 1000})
		if err != nil || len(page.Invocations) != len(want) {
			t.Fatalf("%s: a list of %d, %v", where, len(page.Invocations), err)
		}
	}
	want := map[string]task.Invocation{}
	for _, r := range recs {
		if r.RootID == "root" {
			want[r.TaskID] = r.Invocation
		}
	}
	mustAppend(t, db, recs...)
	check("head", want)
	cut := func(seal bool) {
		t.Helper()
		if _, err := db.Cut(ctx, seal); err != nil {
			t.Fatal(err)
		}
	}
	cut(false)
	check("live", want)
	if _, err := db.park(ctx, true); err != nil {
		t.Fatal(err)
	}
	check("parked", want)
	cut(true)
	check("sealed", want)
	// One of the day before ends in today's, one is late for the day before.
	late := []Record{member("g2", "root", "root", task.StateSuccess, before.Add(2*time.Second)), member("g3", "root", "root", task.StateSuccess, before)}
	mustAppend(t, db, late...)
	for _, r := range late {
		want[r.TaskID] = task.Merge(want[r.TaskID], r.Invocation)
	}
	check("overlay in the head", want)
	cut(false)
	check("overlay", want)
	c.add(24 * time.Hour)
	cut(true)
	check("resealed", want)

	// What nothing is known of, a root that was never seen, and too many.
	if _, err := db.Workflow(ctx, "nobody", MaxWorkflow); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	mustAppend(t, db, member("child", "ghost", "ghost", task.StateSuccess, after))
	if w, err := db.Workflow(ctx, "ghost", MaxWorkflow); err != nil || w.Nodes[0].Stored || len(w.Nodes) != 2 || w.Nodes[1].Depth != 1 || w.Total != 1 {
		t.Fatalf("%+v %v", w, err)
	}
	w, err := db.Workflow(ctx, "root", 3)
	if err != nil || !w.Truncated || w.Complete || w.Total != 3 {
		t.Fatalf("%d of 3, %v", w.Total, err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Workflow(done, "root", MaxWorkflow); err == nil {
		t.Fatal("no time, and no error")
	}
}

// TestWorkflowChain has a chain that is as long as is shown.
func TestWorkflowChain(t *testing.T) {
	t.Parallel()
	byID := map[string]task.Invocation{}
	for i := range MaxWorkflow {
		v := task.Invocation{TaskID: fmt.Sprint(i), RootID: "0", State: task.StateFailure, FinishedAt: int64(MaxWorkflow + i)}
		if i > 0 {
			v.ParentID = fmt.Sprint(i - 1)
		}
		byID[v.TaskID] = v
	}
	w := Workflow{RootID: "0"}
	w.build(byID)
	if last := w.Nodes[MaxWorkflow-1]; last.Depth != MaxWorkflow-1 || len(w.Broken) != maxBroken || len(w.Path(MaxWorkflow-1)) != maxPath {
		t.Fatalf("depth %d", last.Depth)
	}
}
