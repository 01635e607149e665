package celery

import (
	"strings"
	"testing"

	"daybook/tsdb/task"
)

func mustParse(t *testing.T, line string) task.Event {
	t.Helper()
	ev, kind, err := parseEvent([]byte(line))
	if err != nil || kind != Task {
		t.Fatalf("%s: kind %d, %v", line, kind, err)
	}
	return ev
}

func TestParseEvent(t *testing.T) {
	for line, want := range map[string]task.Event{
		`{"type":"task-sent","uuid":"a","timestamp":1795417090.4390793,"hostname":"gen1@h","name":"t","args":"(0,)","kwargs":"{}","retries":2,"eta":"2026-11-23T12:28:14.974184+05:30","expires":null,"queue":null,"exchange":"","routing_key":"rk","root_id":"a","parent_id":"p"}`: {
			State: task.StateSent, TaskID: "a", At: 1795417090439079, TaskName: "t", Args: "(0,)", Kwargs: "{}", Retries: 2, ETA: 1795417094974184, Queue: "rk", RootID: "a", ParentID: "p"},
		`{"type":"task-received","uuid":"a b/é\u00e9","timestamp":5,"hostname":"w@h","name":"t","args":[1, {"x": "y z"}],"kwargs":{"a" : 1},"retries":"3","eta":"tomorrow","routing_key":"rk"}`: {
			State: task.StateReceived, TaskID: "a b/éé", At: 5_000_000, Worker: "w@h", TaskName: "t", Args: `[1,{"x":"y z"}]`, Kwargs: `{"a":1}`, Retries: -1},
		`{"type":"task-started","uuid":"a","timestamp":1.7954170874e9,"retries":7,"utcoffset":5,"clock":99}`: {
			State: task.StateStarted, TaskID: "a", At: 1795417087400000, Retries: -1},
		`{"type":"task-succeeded","uuid":"a","timestamp":5.5,"result":"'x'","runtime":0.0007542}`: {
			State: task.StateSuccess, TaskID: "a", At: 5_500_000, Retries: -1, Result: "'x'", HasRuntime: true, Runtime: 754},
		`{"type":"task-succeeded","uuid":"a","timestamp":5.5,"result":{"n": null},"runtime":-1}`: {
			State: task.StateSuccess, TaskID: "a", At: 5_500_000, Retries: -1, Result: `{"n":null}`},
		`{"type":"task-failed","uuid":"a","timestamp":5,"exception":"ValueError('no')","traceback":"T\n\ud83d\ude00\ud800\u0000"}`: {
			State: task.StateFailure, TaskID: "a", At: 5_000_000, Retries: -1, ExceptionType: "ValueError", ExceptionMessage: "no", Traceback: "T\n😀\uFFFD\x00"},
		`{"type":"task-failed","uuid":"a","timestamp":5,"exception":"NotRegistered('no.such')"}`: {
			State: task.StateFailure, TaskID: "a", At: 5_000_000, Retries: -1, TaskName: "no.such", ExceptionType: "NotRegistered", ExceptionMessage: "no.such"},
		`{"type":"task-failed","uuid":"a","timestamp":5,"exception":"NotRegistered('other')","traceback":"raised inside"}`: {
			State: task.StateFailure, TaskID: "a", At: 5_000_000, Retries: -1, ExceptionType: "NotRegistered", ExceptionMessage: "other", Traceback: "raised inside"},
		`{"type":"task-retried","uuid":"a","timestamp":5,"exception":"None","traceback":null}`: {
			State: task.StateRetry, TaskID: "a", At: 5_000_000, Retries: -1},
		`{"type":"task-revoked","uuid":"a","timestamp":5,"terminated":true,"signum":"SIGTERM","expired":false}`: {
			State: task.StateRevoked, TaskID: "a", At: 5_000_000, Retries: -1},
		`{"type":"task-rejected","uuid":"a","timestamp":5,"requeue":true}`: {
			State: task.StateRequeued, TaskID: "a", At: 5_000_000, Retries: -1},
		`{"type":"task-rejected","uuid":"a","timestamp":5,"requeue":false,"hostname":7}`: {
			State: task.StateRejected, TaskID: "a", At: 5_000_000, Retries: -1},
		// Both forms of times that the HTTP API takes.
		`{"type":"task-sent","uuid":"a","timestamp":"1970-01-01T01:00:05.5+01:00","eta":7.25,"expires":8}`: {
			State: task.StateSent, TaskID: "a", At: 5_500_000, Retries: -1, ETA: 7_250_000, Expires: 8_000_000},
		`{"type":"task-sent","uuid":"a","timestamp":5,"eta":-1,"expires":1e300}`: {
			State: task.StateSent, TaskID: "a", At: 5_000_000, Retries: -1},
		`{"type":"task-started","uuid":"\ud83d\ude00\ufffd` + "\uFFFD" + `","timestamp":5}`: {
			State: task.StateStarted, TaskID: "😀\uFFFD\uFFFD", At: 5_000_000, Retries: -1},
		// The last of two equal keys counts; an escaped key is a key.
		`{"type":"task-started","uuid":"x","uuid":"a","\u0074imestamp":6,"nested":{"uuid":"no","timestamp":[1]}}`: {
			State: task.StateStarted, TaskID: "a", At: 6_000_000, Retries: -1},
	} {
		if got := mustParse(t, line); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

func TestIgnored(t *testing.T) {
	for _, line := range []string{
		`{"type":"task-cancelled","uuid":"a","timestamp":5}`,
		`{"type":"task-progress","uuid":"a","timestamp":"2026-01-01T00:00:00Z"}`,
		`{"type":"task-sent","timestamp":5}`,
		`{"type":"task-started","uuid":null}`,
		`{"type":"task-started","uuid":"","timestamp":5}`,
		`{"type":"deploy-finished"}`, `{"type":""}`,
		`{"type":"worker-online"}`, // whose?
	} {
		if _, kind, err := parseEvent([]byte(line)); kind != Ignored || err != nil {
			t.Errorf("%s: kind %d, %v", line, kind, err)
		}
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 256)
	for line, want := range map[string]string{
		`{"uuid":"a","timestamp":5}`: "type is missing",
		`{"type":5}`:                 "type",
		`{}`:                         "type",
		`{"type":"task-sent","uuid":5,"timestamp":5}`:                      "uuid",
		`{"type":"task-sent","uuid":"a` + "\xff" + `","timestamp":5}`:      "not valid UTF-8",
		`{"type":"task-sent","\u0075uid":"a` + "\xff" + `","timestamp":5}`: "not valid UTF-8",
		`{"type":"task-sent","uuid":"\ud800","timestamp":5}`:               "not valid UTF-8",
		`{"type":"task-sent","uuid":"\ude00\ud83d","timestamp":5}`:         "not valid UTF-8",
		`{"type":"task-sent","uuid":"` + long + `","timestamp":5}`:         "256 bytes",
		`{"type":"task-sent","uuid":"a"}`:                                  "timestamp is missing",
		`{"type":"task-sent","uuid":"a","timestamp":null}`:                 "timestamp is missing",
		`{"type":"task-sent","uuid":"a","timestamp":"yesterday"}`:          "RFC 3339",
		`{"type":"task-sent","uuid":"a","timestamp":"5"}`:                  "RFC 3339",
		`{"type":"task-sent","uuid":"a","timestamp":true}`:                 "neither a number nor",
		`{"type":"task-sent","uuid":"a","timestamp":-5}`:                   "timestamp",
		`{"type":"task-sent","uuid":"a","timestamp":0}`:                    "timestamp",
		`{"type":"task-sent","uuid":"a","timestamp":1e300}`:                "timestamp",
		`{"type":"task-sent","uuid":"a","timestamp":99999999999999}`:       "timestamp",
		`{"type":"task-sent","uuid":"a","timestamp":NaN}`:                  "NaN",
		`{"type":"task-sent","uuid":"a","timestamp":-Infinity}`:            "NaN",
		`{"type":"task-sent","uuid":"a","timestamp":01}`:                   "not valid JSON",
		`{"type":"task-sent","uuid":"a","timestamp":5`:                     "not valid JSON",
		`{"type":"task-sent","uuid":"a","timestamp":5}}`:                   "not valid JSON",
		`[{"type":"task-sent"}]`:                                           "JSON object",
		`null`:                                                             "JSON object",
		`"task-sent"`:                                                      "JSON object",
		``:                                                                 "not valid JSON",
	} {
		if _, kind, err := parseEvent([]byte(line)); err == nil || kind != Ignored || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: kind %d, %v, want %q", line, kind, err, want)
		}
	}
}

func TestWorkerEvents(t *testing.T) {
	items, err := decodeEvents([]byte(`[
		{"type":"worker-heartbeat","hostname":"w@h","pid":7,"timestamp":5.5,"active":2,"processed":10,"loadavg":[0.1,0.2,0.3],"freq":2.0},
		{"type":"worker-heartbeat","hostname":"w@h","pid":7,"timestamp":"x","freq":5},
		{"type":"worker-offline","hostname":"w@h","pid":7,"timestamp":6}]`))
	if err != nil || len(items) != 3 {
		t.Fatal(items, err)
	}
	for i, want := range []Worker{
		{Type: "worker-heartbeat", Hostname: "w@h", At: 5_500_000, Processed: 10},
		{Type: "worker-heartbeat", Hostname: "w@h", Processed: -1},
		{Type: "worker-offline", Hostname: "w@h", At: 6_000_000, Processed: -1},
	} {
		if it := items[i]; it.Kind != WorkerEvent || it.Err != nil || it.PID != 7 || *it.Worker != want {
			t.Errorf("%d: %+v %+v, want %+v", i, it, it.Worker, want)
		}
	}
}

// TestBatchNeighbours: one event's fault is its own.
func TestBatchNeighbours(t *testing.T) {
	items, err := decodeEvents([]byte(` [ {"type":"task-started","uuid":"a","timestamp":1}, 5, {"type":"task-x","v":NaN},
		{"type":"task-started","uuid":"b","timestamp":"x"}, {"type":"task-started","uuid":"c","timestamp":2,"d":[Infinity]},
		{"type":"task-started","uuid":"d","timestamp":3,"deep":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `},
		[], {"type":"task-\u0073tarted","uuid":"e","timestamp":4} ] `))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range items {
		switch {
		case it.Err != nil:
			got = append(got, "-")
		default:
			got = append(got, it.Event.TaskID)
		}
	}
	if strings.Join(got, " ") != "a - - - - d - e" {
		t.Fatalf("%q", got)
	}
}

// TestDeepNesting is for encoding/json, which knows no NaN but is deep enough.
func TestDeepNesting(t *testing.T) {
	deep := `[{"type":"task-started","uuid":"d","timestamp":3,"deep":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `},5]`
	items, err := decodeEvents([]byte(deep))
	if err != nil || len(items) != 2 || items[0].Kind != Task || items[0].Err != nil || items[1].Err == nil {
		t.Fatalf("%+v, %v", items, err)
	}
	if _, err := decodeEvents([]byte(strings.Repeat("[", 1_000_000))); err == nil {
		t.Fatal("a million brackets were read")
	}
}
