package celery

import (
	"encoding/json"
	"testing"

	"daybook/tsdb/task"
)

// BenchmarkDecodeAndFold decodes captured Redis messages and folds every event
// into its invocation, as a consumer and a head do.
func BenchmarkDecodeAndFold(b *testing.B) {
	benchMessages(b, func(tasks map[string]*task.Invocation, ev *task.Event) {
		v := ev.Invocation()
		if have := tasks[v.TaskID]; have != nil {
			have.Merge(&v)
		} else {
			tasks[v.TaskID] = &v
		}
	})
}

func BenchmarkDecodeMessages(b *testing.B) {
	benchMessages(b, func(map[string]*task.Invocation, *task.Event) {})
}

func benchMessages(b *testing.B, fold func(map[string]*task.Invocation, *task.Event)) {
	var messages [][]byte
	for _, m := range redisCapture(b, "redis-wire.ndjson") {
		if m.Scenario != "redis-pickle" {
			messages = append(messages, []byte(m.Payload))
		}
	}
	b.ReportAllocs()
	events, bytes := 0, 0
	for b.Loop() {
		var d Decoder
		tasks := map[string]*task.Invocation{}
		for _, m := range messages {
			bytes += len(m)
			items, _ := d.Message(m)
			for i := range items {
				events++
				if items[i].Kind == Task {
					fold(tasks, &items[i].Event)
				}
			}
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.SetBytes(int64(bytes / b.N))
}

func BenchmarkParseEvent(b *testing.B) {
	lines := capture(b, "events.ndjson")
	bench := func(parse func(d *Decoder, line []byte, it *Item)) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			var d Decoder
			n := 0
			for b.Loop() {
				var it Item
				parse(&d, lines[n%len(lines)], &it)
				n++
			}
		}
	}
	b.Run("scanner", bench((*Decoder).parse))
	b.Run("encoding/json", bench((*Decoder).slowParse))
	b.Run("validate", bench(func(_ *Decoder, line []byte, _ *Item) { json.Valid(line) }))
}
