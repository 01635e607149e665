package celery

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"daybook/tsdb/task"
)

// capture is one file of testdata, recorded from real workers.
func capture(tb testing.TB, name string) [][]byte {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	all, err := io.ReadAll(bufio.NewReader(z))
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(all, []byte("\n")), []byte("\n"))
}

// redisMessage is a line of redis-wire.ndjson and poison-wire.ndjson.
type redisMessage struct {
	Scenario string
	Channel  string
	Payload  string
}

func redisCapture(tb testing.TB, name string) []redisMessage {
	tb.Helper()
	var all []redisMessage
	for _, line := range capture(tb, name) {
		var m redisMessage
		if err := json.Unmarshal(line, &m); err != nil {
			tb.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// rabbitMessage is a line of rabbit-wire.ndjson.
type rabbitMessage struct {
	Properties struct {
		ContentType     string `json:"content_type"`
		ContentEncoding string `json:"content_encoding"`
	}
	Body string
}

func rabbitCapture(tb testing.TB) []rabbitMessage {
	tb.Helper()
	var all []rabbitMessage
	for _, line := range capture(tb, "rabbit-wire.ndjson") {
		var m rabbitMessage
		if err := json.Unmarshal(line, &m); err != nil {
			tb.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// counts is what a capture consisted of.
type counts struct{ messages, tasks, workers, ignored, itemErrors, nonFinite, serializer, empty int }

func (c *counts) add(t *testing.T, items []Item, err error) {
	t.Helper()
	c.messages++
	var se *SerializerError
	switch {
	case errors.Is(err, ErrNonFinite):
		c.nonFinite++
	case errors.As(err, &se):
		c.serializer++
	case err != nil:
		t.Errorf("a real message was refused: %v", err)
	case len(items) == 0:
		c.empty++
	}
	for i := range items {
		switch it := &items[i]; {
		case it.Err != nil:
			c.itemErrors++
		case it.Kind == Task:
			c.tasks++
		case it.Kind == WorkerEvent:
			c.workers++
		default:
			c.ignored++
		}
	}
}

func TestRedisCapture(t *testing.T) {
	want := map[string]counts{
		"redis-db0":      {messages: 917, tasks: 1227, workers: 40, ignored: 6, nonFinite: 1},
		"redis-noprefix": {messages: 186, tasks: 218, workers: 28, empty: 2},
		"redis-pickle":   {messages: 164, serializer: 164},
		"redis-race":     {messages: 968, tasks: 960, workers: 19},
		"redis-route":    {messages: 26, tasks: 9, workers: 20},
		"redis-poison":   {messages: 55, tasks: 44, workers: 18, ignored: 4, nonFinite: 1},
	}
	got := map[string]counts{}
	var d Decoder
	for _, m := range append(redisCapture(t, "redis-wire.ndjson"), redisCapture(t, "poison-wire.ndjson")...) {
		c := got[m.Scenario]
		items, err := d.Message([]byte(m.Payload))
		c.add(t, items, err)
		got[m.Scenario] = c
	}
	for scenario, w := range want {
		if got[scenario] != w {
			t.Errorf("%s: %+v, want %+v", scenario, got[scenario], w)
		}
	}
}

func TestRabbitCapture(t *testing.T) {
	var c counts
	for _, m := range rabbitCapture(t) {
		items, err := decodeBody([]byte(m.Body), m.Properties.ContentType, m.Properties.ContentEncoding)
		c.add(t, items, err)
	}
	if w := (counts{messages: 947, tasks: 1229, workers: 39, ignored: 6, nonFinite: 1, empty: 6}); c != w {
		t.Errorf("%+v, want %+v", c, w)
	}
}

// TestSameOverEveryRoad decodes events one by one and as they travelled: the
// same events come out in the same order.
func TestSameOverEveryRoad(t *testing.T) {
	var travelled []task.Event
	var d Decoder
	keep := func(items []Item, _ error) {
		for _, it := range items {
			if it.Kind == Task && it.Err == nil {
				travelled = append(travelled, it.Event)
			}
		}
	}
	messages := redisCapture(t, "redis-wire.ndjson")
	for _, scenario := range []string{"redis-db0", "redis-noprefix", "redis-race", "redis-route", "rabbit"} {
		for _, m := range messages {
			if m.Scenario == scenario {
				keep(d.Message([]byte(m.Payload)))
			}
		}
	}
	for _, m := range rabbitCapture(t) {
		keep(d.Body([]byte(m.Body), m.Properties.ContentType, m.Properties.ContentEncoding))
	}
	single := map[task.Event]int{}
	n := 0
	for _, line := range capture(t, "events.ndjson") {
		ev, kind, err := parseEvent(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if kind == Task {
			single[ev]++
			n++
		}
	}
	for _, ev := range travelled {
		single[ev]--
		if single[ev] < 0 {
			t.Fatalf("not among the single events: %+v", ev)
		}
	}
	if n != len(travelled) {
		t.Errorf("%d events one by one, %d as they travelled", n, len(travelled))
	}
}
