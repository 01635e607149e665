package ingest

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"daybook/cmd/internal/celery"
)

// TestLossesInTheCaptures: the threads pool of the captured workers lost events,
// the others did not.
func TestLossesInTheCaptures(t *testing.T) {
	f, err := os.Open("../celery/testdata/redis-wire.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*Feed{}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct{ Scenario, Payload string }
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		feed := feeds[m.Scenario]
		if feed == nil {
			feed, _, _, _ = newTestFeed(t, sinkFunc(nil))
			feed.MaxFuture = math.MaxInt64 / 2 // the clock is not that of the captures
			feeds[m.Scenario] = feed
		}
		feed.Add(new(celery.Decoder).Message([]byte(m.Payload)))
	}
	// As counted by hand: one task of the prefork workers has send_events=False.
	want := map[string]string{
		"redis-db0":      "app-worker-analytics 1 of 276 app-worker-long-running 0 of 4 posthog-worker-django-email 2 of 27 ",
		"redis-noprefix": "app-worker-analytics 0 of 49 app-worker-long-running 0 of 0 posthog-worker-django-email 0 of 6 ",
		"redis-race":     "app-worker-default 0 of 240 ",
	}
	for name, text := range want {
		got := ""
		for _, g := range feeds[name].Status().Groups {
			got += fmt.Sprintf("%s %d of %d ", g.Name, g.Lost, g.Processed)
		}
		if got != text {
			t.Errorf("%s: %s\nwant %s", name, got, text)
		}
	}
}
