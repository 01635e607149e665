package daemon

import (
	"cmp"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/cmd/internal/ingest"
)

// maxGroups is how many worker groups of a broker have series of their own; the
// others share one. Whoever names workers could make more and more of them.
const maxGroups = 100

// otherGroups is the name of that one.
const otherGroups = "other"

// brokerMetrics shows the state of consumers when Prometheus asks.
type brokerMetrics []consumer

type brokerMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s *ingest.Status) float64
}

func brokerMetricOf(name, help string, kind prometheus.ValueType, value func(s *ingest.Status) float64) brokerMetric {
	return brokerMetric{prometheus.NewDesc("daybook_broker_"+name, help, []string{"broker"}, nil), kind, value}
}

func brokerTable() []brokerMetric {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []brokerMetric{
		brokerMetricOf("connected", "1 while there is a connection.", gauge, func(s *ingest.Status) float64 { return flag(s.Connected) }),
		brokerMetricOf("storing", "1 unless the last events could not be stored.", gauge, func(s *ingest.Status) float64 { return flag(s.SinkError == "") }),
		brokerMetricOf("connects_total", "Connections made.", counter, func(s *ingest.Status) float64 { return float64(s.Connects) }),
		brokerMetricOf("messages_total", "Messages received.", counter, func(s *ingest.Status) float64 { return float64(s.Messages) }),
		brokerMetricOf("bytes_total", "Bytes of messages received.", counter, func(s *ingest.Status) float64 { return float64(s.Bytes) }),
		brokerMetricOf("events_total", "Task events handed over to be stored.", counter, func(s *ingest.Status) float64 { return float64(s.Events) }),
		brokerMetricOf("ignored_total", "Events of workers and custom events.", counter, func(s *ingest.Status) float64 { return float64(s.Ignored) }),
		brokerMetricOf("refused_total", "Events that make no sense, or that there can never be room for.", counter, func(s *ingest.Status) float64 { return float64(s.Refused) }),
		brokerMetricOf("undecoded_total", "Messages that could not be read.", counter, func(s *ingest.Status) float64 { return float64(s.Undecoded) }),
		brokerMetricOf("dropped_total", "Messages dropped because storing did not keep up.", counter, func(s *ingest.Status) float64 { return float64(s.Dropped) }),
		brokerMetricOf("pending_messages", "Messages received and not yet stored.", gauge, func(s *ingest.Status) float64 { return float64(s.Pending) }),
	}
}

// What is shown only if there is something to show.
var (
	descLastEvent = prometheus.NewDesc("daybook_broker_last_event_timestamp_seconds", "Newest timestamp of any event; before the first, when the broker was first connected.", []string{"broker"}, nil)
	descWorkers   = prometheus.NewDesc("daybook_broker_workers", "Workers that sent a sign of life lately.", []string{"broker", "group"}, nil)
	descProcessed = prometheus.NewDesc("daybook_broker_worker_tasks_total", "Tasks that workers say they started, where that could be compared with events.", []string{"broker", "group"}, nil)
	descLost      = prometheus.NewDesc("daybook_broker_worker_lost_total", "Events of these that were lost before they were sent.", []string{"broker", "group"}, nil)
)

func (m brokerMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, x := range brokerTable() {
		ch <- x.desc
	}
	for _, d := range []*prometheus.Desc{descLastEvent, descWorkers, descProcessed, descLost} {
		ch <- d
	}
}

func (m brokerMetrics) Collect(ch chan<- prometheus.Metric) {
	table, seen := brokerTable(), map[string]int{}
	for _, c := range m {
		s := c.Status()
		name := s.URL
		if seen[name]++; seen[name] > 1 { // two that differ in the password only
			name = fmt.Sprintf("%s#%d", name, seen[name])
		}
		for _, x := range table {
			ch <- prometheus.MustNewConstMetric(x.desc, x.kind, x.value(&s), name)
		}
		if at := cmp.Or(s.LastEventAt, s.FirstAt); at != 0 { // silence is measured from the connection on
			ch <- prometheus.MustNewConstMetric(descLastEvent, prometheus.GaugeValue, float64(at)/1e6, name)
		}
		for _, g := range fewGroups(s.Groups) {
			ch <- prometheus.MustNewConstMetric(descWorkers, prometheus.GaugeValue, float64(g.Workers), name, g.Name)
			ch <- prometheus.MustNewConstMetric(descProcessed, prometheus.CounterValue, float64(g.Processed), name, g.Name)
			ch <- prometheus.MustNewConstMetric(descLost, prometheus.CounterValue, float64(g.Lost), name, g.Name)
		}
	}
}

// fewGroups adds up the groups beyond maxGroups, and one that has their name.
func fewGroups(all []ingest.Group) []ingest.Group {
	few, rest := make([]ingest.Group, 0, min(len(all), maxGroups+1)), ingest.Group{Name: otherGroups}
	more := false
	for _, g := range all {
		if len(few) < maxGroups && g.Name != otherGroups {
			few = append(few, g)
			continue
		}
		more = true
		rest.Workers, rest.Processed, rest.Lost = rest.Workers+g.Workers, rest.Processed+g.Processed, rest.Lost+g.Lost
	}
	if more {
		few = append(few, rest)
	}
	return few
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
