package task

import (
	"fmt"
	"reflect"
	"testing"
)

// What is stated as a whole, in steps, and by Celery's events takes a byte or two
// beside its columns; what they cannot tell takes more.
func TestResidueIsShort(t *testing.T) {
	t.Parallel()
	line := func(s string) Invocation {
		v, err := ParseJSON([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	event := func(s State, at int64, retries int32) Invocation {
		e := Event{TaskID: "x", TaskName: "t", State: s, At: at, Worker: "w1", Retries: retries}
		return e.Invocation()
	}
	whole := line(`{"task_id":"x","task_name":"t","state":"SUCCESS","sent_at":1,"received_at":2,"started_at":3,"finished_at":4,"worker":"w1","runtime_ms":7}`)
	for what, c := range map[string]struct {
		v     Invocation
		bytes int
	}{
		"whole":                {whole, 2},
		"whole, of an attempt": {line(`{"task_id":"x","state":"FAILURE","started_at":3,"finished_at":4,"worker":"w1","retries":3,"exception_type":"E"}`), 2},
		"in steps": {Merge(line(`{"task_id":"x","state":"STARTED","started_at":3,"worker":"w1"}`),
			line(`{"task_id":"x","state":"SUCCESS","finished_at":4,"worker":"w1"}`)), 0},
		"in steps, of an attempt": {Merge(line(`{"task_id":"x","state":"STARTED","started_at":3,"worker":"w1","retries":1}`),
			line(`{"task_id":"x","state":"SUCCESS","finished_at":4,"worker":"w1","retries":1}`)), 2},
		"events":                 {Merge(Merge(event(StateReceived, 2_000_000, 0), event(StateStarted, 3_000_000, RetriesUnknown)), event(StateSuccess, 4_000_000, RetriesUnknown)), 0},
		"a step at another time": {Merge(whole, line(`{"task_id":"x","state":"STARTED","started_at":2.5,"worker":"w1"}`)), 22},
		"by two workers":         {Merge(whole, line(`{"task_id":"x","state":"STARTED","started_at":2.5,"worker":"w2"}`)), 22},
	} {
		r := c.v.Residue(true)
		if len(r) != c.bytes {
			t.Errorf("%s: % x, want %d bytes", what, r, c.bytes)
		}
		if got := stored(t, c.v); !reflect.DeepEqual(got, c.v) {
			t.Errorf("%s:\n%+v\n%+v", what, got, c.v)
		}
	}
	columns := whole
	for _, bad := range []string{"\x10", "\x10\x00\x00", "\x11\x00\x08", "\x10\x18\x08", "\x10\x80", "\x20", "\x20\x08"} {
		if err := columns.Restore([]byte(bad)); err == nil {
			t.Errorf("%q is restored: %+v", bad, columns.Transitions)
		}
	}
	columns.SentAt = 0
	if err := columns.Restore([]byte("\x10\x09")); err == nil {
		t.Errorf("a step at no time is restored: %s", fmt.Sprint(columns.Transitions))
	}
}
