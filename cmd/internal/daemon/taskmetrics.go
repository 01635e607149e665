package daemon

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/tsdb"
)

const (
	taskWindow  = time.Hour        // what is shown of tasks is of that time
	taskRefresh = 15 * time.Second // how often it is worked out
	taskTimeout = 10 * time.Second
	// otherTasks is the name under which the tasks beyond the cap are added up.
	otherTasks = "other"
)

// taskMetrics shows the tasks of the last hour with their names as labels. They
// are worked out beside the scrapes, which never wait for a disk.
type taskMetrics struct {
	most  int // names
	tasks func(ctx context.Context, from, to int64, name string) ([]tsdb.TaskSummary, tsdb.Coverage, error)
	now   func() time.Time

	mu    sync.Mutex
	shown []tsdb.TaskSummary // guarded by mu
}

var (
	descTaskEnded   = prometheus.NewDesc("daybook_task_invocations", "Invocations that ended in the last hour, by state.", []string{"task_name", "state"}, nil)
	descTaskRetries = prometheus.NewDesc("daybook_task_retries", "Attempts beyond the first of these.", []string{"task_name"}, nil)
	descTaskActive  = prometheus.NewDesc("daybook_task_active", "Invocations that are open now.", []string{"task_name"}, nil)
	descTaskRuntime = prometheus.NewDesc("daybook_task_runtime_seconds", "Runtime of those that ended in the last hour.", []string{"task_name", "quantile"}, nil)
)

func (m *taskMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descTaskEnded, descTaskRetries, descTaskActive, descTaskRuntime} {
		ch <- d
	}
}

func (m *taskMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	shown := m.shown
	m.mu.Unlock()
	for i := range shown {
		t := &shown[i]
		put := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{t.Name}, labels...)...)
		}
		put(descTaskEnded, float64(t.Success), "success")
		put(descTaskEnded, float64(t.Failure), "failure")
		put(descTaskEnded, float64(t.Revoked), "revoked")
		put(descTaskEnded, float64(t.Rejected), "rejected")
		put(descTaskEnded, float64(t.GivenUp), "given_up")
		put(descTaskRetries, float64(t.Retries))
		put(descTaskActive, float64(t.Active))
		if t.Runtime.Count > 0 {
			put(descTaskRuntime, t.Runtime.P50/1000, "0.5")
			put(descTaskRuntime, t.Runtime.P95/1000, "0.95")
			put(descTaskRuntime, t.Runtime.P99/1000, "0.99")
		}
	}
}

// run works it out again and again. Where that fails, what was known is shown
// on: the database says what is wrong.
func (m *taskMetrics) run(ctx context.Context) error {
	for {
		next := taskRefresh
		if !m.refresh(ctx) {
			next = time.Second
		}
		pause := time.NewTimer(next)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

// refresh reports whether there is something to show.
func (m *taskMetrics) refresh(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	now := m.now()
	list, _, err := m.tasks(ctx, now.Add(-taskWindow).UnixMicro(), now.UnixMicro()+1, "")
	if err != nil {
		return false
	}
	list = busiest(list, m.most)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown = list
	return len(list) > 0
}

// busiest are the tasks with most invocations, and one that adds up the rest. A
// task that has the name of that one is added up, too: names must be unique.
func busiest(list []tsdb.TaskSummary, most int) []tsdb.TaskSummary {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b tsdb.TaskSummary) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(b.Active, a.Active), cmp.Compare(a.Name, b.Name))
	})
	rest := tsdb.TaskSummary{Name: otherTasks}
	var out []tsdb.TaskSummary
	added := false
	for _, t := range list {
		if len(out) < most && t.Name != otherTasks {
			out = append(out, t)
			continue
		}
		added = true
		rest.Total, rest.Success, rest.Failure = rest.Total+t.Total, rest.Success+t.Success, rest.Failure+t.Failure
		rest.Revoked, rest.Rejected, rest.GivenUp = rest.Revoked+t.Revoked, rest.Rejected+t.Rejected, rest.GivenUp+t.GivenUp
		rest.Retries, rest.Active = rest.Retries+t.Retries, rest.Active+t.Active
	}
	if added {
		out = append(out, rest)
	}
	return out
}
