package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/cmd/internal/daemon"
	"daybook/cmd/internal/ingest"
)

// TestSilentBroker wants silence to be measured from the connection on: a broker
// that never says anything would otherwise never be noticed.
func TestSilentBroker(t *testing.T) {
	s := &ingest.Status{URL: "redis://h"}
	reg := prometheus.NewRegistry()
	if err := reg.Register(daemon.OneBroker(s)); err != nil {
		t.Fatal(err)
	}
	last := func() float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "daybook_broker_last_event_timestamp_seconds" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	for _, c := range []struct {
		what         string
		first, event int64
		want         float64
	}{{"never connected", 0, 0, -1}, {"connected", 100e6, 0, 100}, {"an event", 100e6, 150e6, 150}, {"an old event", 100e6, 50e6, 50}} {
		if s.FirstAt, s.LastEventAt = c.first, c.event; last() != c.want {
			t.Errorf("%s: %v, want %v", c.what, last(), c.want)
		}
	}
}

// TestGapCauses wants every cause to be shown before there is a gap of it.
func TestGapCauses(t *testing.T) {
	d := start(t, config(t))
	eventually(t, "the daemon does not get ready", func() bool { return status(t, d, "/-/ready") == 200 })
	resp, err := http.Get("http://" + d.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	page := readDoc(t, "api.md")
	for _, cause := range []string{ingest.CauseBrokerLost, ingest.CauseOverflow, ingest.CauseUnstored, ingest.CauseBrokerOverflow} {
		if !strings.Contains(string(text), fmt.Sprintf("\ndaybook_gaps{cause=%q} 0\n", cause)) {
			t.Errorf("%q is not shown", cause)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^daybook_gaps\{cause="([^"]+)"\}`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(page, "`"+m[1]+"`") {
			t.Errorf("docs/api.md does not have the cause %q", m[1])
		}
	}
}
