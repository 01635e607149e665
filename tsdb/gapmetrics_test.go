package tsdb

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/tsdb/task"
)

// gaugesBy are the values of a gauge by one of its labels.
func gaugesBy(t *testing.T, reg *prometheus.Registry, name, label string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == label {
					out[l.GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	return out
}

// The causes of gaps are shown from the start, and when the latest of each ended: so
// the first one is seen, and one that was there before the first scrape.
func TestGapMetrics(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o, reg := testOptions(t.TempDir(), c), prometheus.NewRegistry()
	o.Metrics = reg
	db := start(t, o)
	defer db.Close()
	before := gaugesBy(t, reg, "daybook_gaps", "cause")
	for _, cause := range causes {
		if n, ok := before[cause]; !ok || n != 0 {
			t.Errorf("%s: %v, %v before the first", cause, n, ok)
		}
	}
	if ends := gaugesBy(t, reg, "daybook_newest_gap_timestamp_seconds", "cause"); len(ends) != 0 {
		t.Errorf("%v before the first", ends)
	}
	for i := range 2 {
		from := noon.Add(time.Duration(i) * time.Minute)
		db.AddGap(task.Gap{Source: "b", Cause: "broker lost", From: from.UnixMicro(), To: from.UnixMicro() + 5e6})
	}
	if n := gaugesBy(t, reg, "daybook_gaps", "cause")["broker lost"]; n != 2 {
		t.Errorf("%v gaps, want 2", n)
	}
	ends := gaugesBy(t, reg, "daybook_newest_gap_timestamp_seconds", "cause")
	if want := float64(noon.Unix() + 65); len(ends) != 1 || ends["broker lost"] != want {
		t.Errorf("%v, want the end of the second, %v", ends, want)
	}
}
