package redis

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"daybook/cmd/internal/celery"
	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/internal/brokers"
	"daybook/tsdb/task"
)

// captured are messages that real workers sent, and how many events are in them.
func captured(tb testing.TB) (payloads []string, events int) {
	tb.Helper()
	f, err := os.Open("../../celery/testdata/redis-wire.ndjson.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct{ Payload string }
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			tb.Fatal(err)
		}
		items, err := new(celery.Decoder).Message([]byte(m.Payload))
		if err != nil {
			continue
		}
		payloads = append(payloads, m.Payload)
		events += len(items)
	}
	return payloads, events
}

// folding is a Sink that does what a head does, short of the log.
type folding struct{ tasks map[string]*task.Invocation }

func (f *folding) Append(_ context.Context, events []task.Event) error {
	for i := range events {
		v := events[i].Invocation()
		if have := f.tasks[v.TaskID]; have != nil {
			have.Merge(&v)
		} else {
			f.tasks[v.TaskID] = &v
		}
	}
	return nil
}

// BenchmarkFromRedis publishes captured messages to a real server and takes
// them in, on one machine with publisher and server. The publisher is held back
// only when 20 MB are under way, where Redis would cut off any reader.
func BenchmarkFromRedis(b *testing.B) {
	brokers.Need(b)
	s := brokers.Redis(b)
	c := client(b, s)
	payloads, events := captured(b)
	consumer := run(b, s.URL(), func(o *ingest.Options) { o.Sink = &folding{tasks: make(map[string]*task.Invocation)} })
	consumer.Connects(b, 1)
	sent, rounds := int64(0), 0
	for b.Loop() {
		pipe := c.Pipeline()
		for i, p := range payloads {
			pipe.Publish(b.Context(), "/0.celeryev/task.multi", p)
			if i%200 == 199 || i == len(payloads)-1 {
				sent += int64(pipe.Len())
				if _, err := pipe.Exec(b.Context()); err != nil {
					b.Fatal(err)
				}
				brokers.Until(b, 10*time.Second, "room", func() bool { return sent-consumer.Status().Messages < 20_000 })
			}
		}
		rounds++
	}
	brokers.Until(b, 30*time.Second, "all are stored", func() bool { st := consumer.Status(); return st.Messages >= sent && st.Pending == 0 })
	st := consumer.Status()
	if st.Dropped > 0 || st.Connects != 1 {
		b.Errorf("dropped %d, connected %d times", st.Dropped, st.Connects)
	}
	b.ReportMetric(float64(events*rounds)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "messages/s")
}
