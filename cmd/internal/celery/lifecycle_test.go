package celery

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// raw is an event as encoding/json sees it, for an expectation that shares no
// code with the decoder.
type raw struct {
	Type, UUID, Name, Args, Kwargs, Result, Exception, Traceback, Queue, Hostname string
	RootID                                                                        string `json:"root_id"`
	ParentID                                                                      string `json:"parent_id"`
	Timestamp                                                                     float64
	Runtime                                                                       *float64
	Retries                                                                       *int
	Requeue                                                                       bool
}

// ended is Celery's word on how a task ended: its result backend keeps success
// and failure whatever was said of retries; a task called off that ran all the
// same has run.
func ended(all []raw) (state string, last raw) {
	rank := map[string]int{"task-succeeded": 3, "task-failed": 3, "task-revoked": 2, "task-rejected": 2}
	names := map[string]string{"task-succeeded": "SUCCESS", "task-failed": "FAILURE", "task-revoked": "REVOKED", "task-rejected": "REJECTED"}
	best := 0
	for _, e := range all {
		r := rank[e.Type]
		if e.Requeue || r < best || r == best && e.Timestamp <= last.Timestamp {
			continue
		}
		if r > 0 {
			best, state, last = r, names[e.Type], e
		}
	}
	return state, last
}

// TestEveryTaskEndsAsInCelery folds all captured events, task by task.
func TestEveryTaskEndsAsInCelery(t *testing.T) {
	scenarios := capture(t, "events-scenario.txt")
	expect := map[string][]raw{}
	got := map[string]task.Invocation{}
	for i, line := range capture(t, "events.ndjson") {
		var e raw
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		ev, kind, err := parseEvent(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if kind != Task {
			continue
		}
		id := string(scenarios[i]) + " " + e.UUID // custom ids repeat between scenarios
		expect[id] = append(expect[id], e)
		got[id] = task.Merge(got[id], ev.Invocation())
	}
	open := 0
	for id, all := range expect {
		v := got[id]
		state, last := ended(all)
		if state == "" {
			open++
			if want := map[string]task.State{"task-sent": task.StateSent, "task-started": task.StateStarted}[all[len(all)-1].Type]; v.State != want {
				t.Errorf("%s has no end: %v, want %v", id, v.State, want)
			}
			continue
		}
		if v.State.String() != state || math.Abs(float64(v.FinishedAt)-last.Timestamp*1e6) > 1 {
			t.Errorf("%s: %v at %d, want %s at %f", id, v.State, v.FinishedAt, state, last.Timestamp)
		}
		checkFields(t, id, &v, all, &last)
	}
	if len(got) != len(expect) || len(got) < 600 {
		t.Errorf("%d tasks, want %d", len(got), len(expect))
	}
	if open != 8 {
		t.Errorf("%d tasks have no end in the captures, want 8", open)
	}
}

func checkFields(t *testing.T, id string, v *task.Invocation, all []raw, last *raw) {
	t.Helper()
	retries, attempts := 0, 0
	var name, queue, root, parent string
	for _, e := range all {
		name, queue, root, parent = max(name, e.Name), max(queue, e.Queue), max(root, e.RootID), max(parent, e.ParentID)
		if e.Retries != nil {
			retries = max(retries, *e.Retries)
		}
		if e.Type == "task-retried" {
			attempts++
		}
	}
	if name == "" && strings.HasPrefix(last.Exception, "NotRegistered('") {
		name = strings.TrimSuffix(strings.TrimPrefix(last.Exception, "NotRegistered('"), "')")
	}
	if v.TaskName != name || v.RootID != root || v.ParentID != parent || int(v.Retries) != retries || queue != "" && v.Queue == "" {
		t.Errorf("%s: %q %q %q %d %q, want %q %q %q %d %q", id, v.TaskName, v.RootID, v.ParentID, v.Retries, v.Queue, name, root, parent, retries, queue)
	}
	if name == "" {
		t.Errorf("%s has no name: %+v", id, all)
	}
	seen := 0
	for _, tr := range v.Transitions {
		if tr.State == task.StateRetry {
			seen++
			if tr.ExceptionType != "ConnectionError" && tr.ExceptionType != "TimeoutError" && tr.ExceptionType != "" {
				t.Errorf("%s: retried for %q", id, tr.ExceptionType)
			}
		}
	}
	if seen != attempts {
		t.Errorf("%s: %d retries are kept of %d", id, seen, attempts)
	}
	if last.Type == "task-succeeded" {
		if want := last.Result; v.Outcome.Result != want && len(want) <= task.MaxText {
			t.Errorf("%s: result %q, want %q", id, v.Outcome.Result, want)
		}
		if last.Runtime == nil || math.Abs(float64(v.Outcome.Runtime)-*last.Runtime*1e6) > 1 {
			t.Errorf("%s: runtime %d, want %v s", id, v.Outcome.Runtime, last.Runtime)
		}
	}
	if last.Type == "task-failed" && (v.Outcome.ExceptionType == "" || identifier(v.Outcome.ExceptionType) != len(v.Outcome.ExceptionType)) {
		t.Errorf("%s: exception type %q of %q", id, v.Outcome.ExceptionType, last.Exception)
	}
}

// TestLateRetryDoesNotReopen: two workers, no retry delay.
func TestLateRetryDoesNotReopen(t *testing.T) {
	var v task.Invocation
	for _, line := range []string{
		`{"type":"task-received","uuid":"a","name":"t","retries":0,"timestamp":1.0,"hostname":"w1"}`,
		`{"type":"task-received","uuid":"a","name":"t","retries":1,"timestamp":2.0,"hostname":"w2"}`,
		`{"type":"task-succeeded","uuid":"a","result":"1","runtime":0.5,"timestamp":3.0,"hostname":"w2"}`,
		`{"type":"task-retried","uuid":"a","exception":"OSError()","timestamp":4.0,"hostname":"w1"}`,
	} {
		ev, kind, err := parseEvent([]byte(line))
		if err != nil || kind != Task {
			t.Fatal(kind, err)
		}
		v = task.Merge(v, ev.Invocation())
	}
	if v.State != task.StateSuccess || v.Retries != 1 || v.FinishedAt != 3_000_000 || v.Worker != "w2" || len(v.Transitions) != 4 {
		t.Fatalf("%+v", v)
	}
	if typ, _, _ := v.Exception(); typ != "" {
		t.Fatalf("a success shows %q", typ)
	}
}
