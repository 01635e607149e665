package load

import (
	"bytes"
	"testing"

	"daybook/tsdb/task"
)

// TestLines reads lines back: what a client posts is what the load means.
func TestLines(t *testing.T) {
	const n, at = 3000, 1_795_435_200_000_000
	pool := NewPool(1, n, false)
	body := pool.Lines(1).Append(nil, n, at)
	if again := pool.Lines(1).Append(nil, n, at); !bytes.Equal(body, again) {
		t.Error("the same seed gives other lines")
	}
	seen, names, failures, texts := map[string]bool{}, map[string]int{}, 0, 0
	for i, line := range bytes.Split(bytes.TrimSpace(body), []byte("\n")) {
		v, err := task.ParseJSON(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if _, packed := task.PackID(v.TaskID); !packed || seen[v.TaskID] || v.RootID != v.TaskID {
			t.Fatalf("line %d: task_id %q, root_id %q", i, v.TaskID, v.RootID)
		}
		if v.FinishedAt != at+int64(i) || v.StartedAt >= v.FinishedAt || v.ReceivedAt > v.StartedAt || v.SentAt >= v.ReceivedAt {
			t.Fatalf("line %d: times %d %d %d %d", i, v.SentAt, v.ReceivedAt, v.StartedAt, v.FinishedAt)
		}
		seen[v.TaskID] = true
		names[v.TaskName]++
		texts += len(v.Args) + len(v.Kwargs)
		if v.State == task.StateFailure {
			failures++
			if k := len(v.Outcome.Traceback); k < 900 || k > 2500 {
				t.Errorf("a traceback of %d bytes", k)
			}
		}
	}
	if len(seen) != n || failures < n*3/100 || failures > n*7/100 || len(names) < 60 || names[TaskName(0)] < n/20 || texts/n < 110 || texts/n > 170 {
		t.Errorf("%d ids, %d failures, %d names, %d of the first, %d bytes of args and kwargs", len(seen), failures, len(names), names[TaskName(0)], texts/n)
	}
}

// TestOpen has invocations that are still running.
func TestOpen(t *testing.T) {
	line := NewPool(1, 1, true).Lines(1).Append(nil, 1, 1_795_435_200_000_000)
	if v, err := task.ParseJSON(line); err != nil || !v.Open() || v.State != task.StateStarted {
		t.Errorf("%v, %s: %s", err, v.State, line)
	}
}

func BenchmarkLines(b *testing.B) {
	lines := NewPool(1, 1000, false).Lines(1)
	var buf []byte
	for b.Loop() {
		buf = lines.Append(buf[:0], 1, 1_795_435_200_000_000)
	}
}
