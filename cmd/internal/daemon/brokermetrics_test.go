package daemon_test

import (
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
