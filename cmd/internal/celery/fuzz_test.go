package celery

import (
	"testing"
	"unicode/utf8"

	"daybook/tsdb/task"
)

// sameItem compares the scanner's answer with that of encoding/json.
func sameItem(t *testing.T, text []byte, fast, slow *Item) {
	t.Helper()
	if (fast.Err == nil) != (slow.Err == nil) || fast.Kind != slow.Kind || fast.Event != slow.Event || fast.PID != slow.PID {
		t.Fatalf("%q:\nscanner       %+v\nencoding/json %+v", text, fast, slow)
	}
	if (fast.Worker == nil) != (slow.Worker == nil) || fast.Worker != nil && *fast.Worker != *slow.Worker {
		t.Fatalf("%q: %+v, %+v", text, fast.Worker, slow.Worker)
	}
	if ev := &fast.Event; fast.Kind == Task {
		for _, s := range []string{ev.TaskID, ev.TaskName, ev.Args, ev.Result, ev.ExceptionType, ev.ExceptionMessage, ev.Traceback, ev.Worker} {
			if !utf8.ValidString(s) {
				t.Fatalf("%q: %q is not UTF-8", text, s)
			}
		}
		v := ev.Invocation()
		if ev.At <= 0 || ev.At > task.MaxMicros || v.State == task.StateUnknown {
			t.Fatalf("%q: %+v", text, ev)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	seen := map[string]int{}
	for _, line := range capture(f, "events.ndjson") {
		if ev, _, _ := parseEvent(line); seen[ev.State.String()+ev.ExceptionType] < 2 && len(line) < 4096 {
			seen[ev.State.String()+ev.ExceptionType]++
			f.Add(line)
		}
	}
	f.Add([]byte(`{"type":"task-failed","uuid":"\ud83d\ude00\ud800\u00e9\/\b","timestamp":1.5e9,"exception":"<E: \\x41>","args":[1,{"a":null}]}`))
	f.Add([]byte(`{"\u0074ype":"task-sent","uuid":"a","uuid":"b","timestamp":1E+3,"retries":-0,"x":[[[NaN]]]}`))
	f.Add([]byte(" {\"type\" :\"task-started\",\t\"uuid\":\"\xff\xc3\",\"timestamp\":0.5e1}\n"))
	f.Add([]byte("{\"type\":\"task-failed\",\"uuid\":\"a\",\"timestamp\":1.5e9,\"args\":[1,{\"\xff\":null}],\"exception\":\"E\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var fast, slow Item
		var d Decoder
		d.parse(text, &fast)
		d.slowParse(text, &slow)
		sameItem(t, text, &fast, &slow)
	})
}

func FuzzDecodeMessage(f *testing.F) {
	seen := map[int]int{}
	add := func(text string) {
		if n := len(text) / 256; seen[n] < 2 && len(text) < 8192 {
			seen[n]++
			f.Add([]byte(text))
		}
	}
	for _, m := range redisCapture(f, "redis-wire.ndjson") {
		add(m.Payload)
	}
	clear(seen)
	for _, m := range redisCapture(f, "poison-wire.ndjson") {
		add(m.Payload)
	}
	clear(seen)
	for _, m := range rabbitCapture(f) {
		add(m.Body)
	}
	f.Add([]byte(`{"body":"[{\"type\":\"task-started\",\"uuid\":\"a\",\"timestamp\":1},{\"t\":NaN}]","properties":{}}`))
	f.Add([]byte(`[{"type":"task-started","uuid":"a","timestamp":1},5,[]]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Decoder
		items, err := d.Message(text)
		if err != nil && len(items) > 0 {
			t.Fatalf("%q: %d items and %v", text, len(items), err)
		}
		fast, err := d.Events(text)
		if err != nil {
			var slow Decoder
			if slowErr := slow.slowBody(text); slowErr == nil && !(len(slow.items) == 1 && slow.items[0].Err != nil) {
				t.Fatalf("%q: refused (%v), and encoding/json reads it", text, err)
			}
			return
		}
		var slow Decoder
		if err := slow.slowBody(text); err != nil {
			for i := range fast {
				if fast[i].Err == ErrNonFinite {
					return // the one thing that only the scanner forgives
				}
			}
			t.Fatalf("%q: read, and encoding/json says %v", text, err)
		}
		if len(fast) != len(slow.items) {
			t.Fatalf("%q: %d and %d items", text, len(fast), len(slow.items))
		}
		for i := range fast {
			sameItem(t, text, &fast[i], &slow.items[i])
		}
	})
}
