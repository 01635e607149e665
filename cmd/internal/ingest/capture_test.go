package ingest

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
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
			feeds[m.Scenario] = feed
		}
		feed.Add(new(celery.Decoder).Message([]byte(m.Payload)))
	}
	// As counted by hand: one task of the prefork workers has send_events=False.
	want := map[string]string{
		"redis-db0":      "app-worker-analytics 276-275=1 app-worker-long-running 4-4=0 posthog-worker-django-email 27-25=2 ",
		"redis-noprefix": "app-worker-analytics 49-49=0 app-worker-long-running 0-0=0 posthog-worker-django-email 6-6=0 ",
		"redis-race":     "app-worker-default 240-240=0 ",
	}
	for name, text := range want {
		got := ""
		for _, g := range feeds[name].Status().Groups {
			got += fmt.Sprintf("%s %d-%d=%d ", g.Name, g.Processed, g.Started, g.Lost)
		}
		if got != text {
			t.Errorf("%s: %s\nwant %s", name, got, text)
		}
	}
}
