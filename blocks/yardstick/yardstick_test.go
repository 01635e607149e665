package yardstick

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// TestTables checks that a yardstick does the work that it stands for.
func TestTables(t *testing.T) {
	const rows = 1000
	day := task.Day(20_000)
	for name, create := range map[string]func(string) (*Table, error){"ancestor": Ancestor, "plain": Plain} {
		t.Run(name, func(t *testing.T) {
			x, err := create(filepath.Join(t.TempDir(), "x y#?.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := x.Close(); err != nil {
					t.Error(err)
				}
			}()
			g := load.New(1, day, rows)
			invs := make([]*task.Invocation, rows)
			for i := range invs {
				invs[i] = g.Next()
			}
			for _, part := range [][]*task.Invocation{invs[:300], invs[300:301], invs[301:]} {
				if err := x.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := x.Scan(); n != rows || err != nil {
				t.Errorf("%d rows, %v", n, err)
			}
			if err := x.Checkpoint(); err != nil || x.Bytes() < 100*rows {
				t.Errorf("%d bytes, %v", x.Bytes(), err)
			}
			if name == "ancestor" {
				askAncestor(t, x, invs)
			}
		})
	}
}

func askAncestor(t *testing.T, x *Table, invs []*task.Invocation) {
	t.Helper()
	half := invs[len(invs)/2]
	if err := x.Write([]*task.Invocation{half}); err != nil { // replaces itself
		t.Fatal(err)
	}
	expect := func(what string, want int) func(int, error) {
		return func(n int, err error) {
			if n != want || err != nil {
				t.Errorf("%s: %d rows, want %d, %v", what, n, want, err)
			}
		}
	}
	expect("all", len(invs))(x.Scan())
	expect("by id", 1)(x.Get(half.TaskID))
	expect("by task", 7)(x.NewestOfTask(load.TaskName(0), 7))
	expect("failures", 7)(x.NewestFailures(7))
	if n, err := x.Summary(); n < 60 || err != nil {
		t.Errorf("%d lines of a summary, %v", n, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := x.DeleteBefore(ended, half.FinishedAt); !errors.Is(err, context.Canceled) {
		t.Errorf("deleting, interrupted: %v", err)
	}
	expect("after that", len(invs))(x.Scan())
	if err := x.DeleteBefore(t.Context(), half.FinishedAt); err != nil {
		t.Fatal(err)
	}
	expect("after deleting", len(invs)-len(invs)/2)(x.Scan())
	expect("details", len(invs)-len(invs)/2)(x.count("SELECT 1 FROM invocation_details"))
}
