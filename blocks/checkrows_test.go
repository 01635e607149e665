package blocks

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// Ids are looked up in batches, each of them, also the last; what is not found is
// named.
func TestCheckLooksUpEveryID(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := createLive(t, liveDir(t), 1)
	b := Batch{Cut: 1}
	const rows = 50
	for i := range rows {
		e := task.Event{TaskID: fmt.Sprint("id", i), TaskName: "t", State: task.StateSuccess, At: l.Day().Start() + int64(i)}
		v := e.Invocation()
		b.Put = append(b.Put, Put{Inv: &v})
	}
	if err := l.Apply(ctx, b); err != nil {
		t.Fatal(err)
	}
	path := l.Path()
	closeAll(t, l)
	r := &report{path: path, mode: modeRead}
	c, err := r.written(ctx, kindLive, l.Day(), false)
	if err != nil {
		t.Fatal(err)
	}
	asked := map[uint64]int{}
	lost := task.HashID("id7")
	k := rowCheck{r: r, c: c, day: l.Day(), known: func(hash uint64, _ int64) (bool, error) {
		asked[hash]++
		return hash != lost, nil
	}}
	if err := k.run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if n := asked[task.HashID(fmt.Sprint("id", i))]; n != 1 {
			t.Errorf("id%d was looked up %d times", i, n)
		}
	}
	if len(r.findings) != 1 || !strings.Contains(r.findings[0].Problem, `"id7"`) {
		t.Errorf("%+v", r.findings)
	}
}

// A row whose residue tells of another state than its columns is listed under the
// one, and found under the other.
func TestCheckComparesStates(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for residue, problem := range map[string]string{
		"1008": "", // as it is written
		"1000": `says FAILURE, its transitions say SENT`,
		"1009": "is damaged", // it was sent at no time
		"0100": `says FAILURE, its transitions say SENT`,
	} {
		l := createLive(t, liveDir(t), 1)
		v := rowAt("posted", "a", testDay.Start()+5_000_000, task.StateFailure)
		v.StartedAt = testDay.Start() + 4_000_000
		v.Transitions = []task.Transition{{At: v.FinishedAt, State: v.State, Worker: v.Worker, Retries: task.RetriesUnknown, ExceptionType: v.Outcome.ExceptionType}}
		if err := l.Apply(ctx, Batch{Cut: 1, Put: []Put{{Inv: &v}}}); err != nil {
			t.Fatal(err)
		}
		path := l.Path()
		closeAll(t, l)
		c, err := openFile(path, modeWrite)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.script("UPDATE invocation SET residue = x'" + residue + "'"); err != nil {
			t.Fatal(err)
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
		findings, err := CheckFile(ctx, path, true)
		if err != nil {
			t.Fatal(err)
		}
		found := problem == ""
		for _, f := range findings {
			found = found || strings.Contains(f.Problem, problem)
		}
		if !found || problem == "" && len(findings) > 0 {
			t.Errorf("%s: %+v", residue, findings)
		}
	}
}
