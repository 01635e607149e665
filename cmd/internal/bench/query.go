package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// question is a query that is asked over and over.
type question struct {
	name   string
	target float64 // ms
	times  int
	ask    func(i int) string // the path
	yard   func(i int) error
}

// query asks over days that are sealed, without ingest and beside it.
func (r *run) query(ctx context.Context) (err error) {
	dir, err := r.makeDir("query")
	if err != nil {
		return err
	}
	var ids []string
	for i := range r.Days {
		if err := r.sealedDay(ctx, dir, r.firstDay()+task.Day(i), r.Rows/r.Days, &ids); err != nil {
			return err
		}
	}
	questions, err := r.questions(ctx, ids)
	if err != nil {
		return err
	}
	d, err := r.start(ctx, dir, "--retention.time=0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	idle := map[string][]time.Duration{}
	for _, q := range questions {
		r.progress("query: %s", q.name)
		yard, err := r.timed(ctx, q.times, q.yard)
		if err != nil {
			return fmt.Errorf("%s, of the ancestor: %w", q.name, err)
		}
		if idle[q.name], err = r.asked(ctx, d, &q); err != nil {
			return err
		}
		r.report.less("query", q.name+", p50", "ms", percentile(idle[q.name], 0.5)).target(q.target).against(percentile(yard, 0.5), theAncestor)
		r.report.less("query", "  p99", "ms", percentile(idle[q.name], 0.99)).against(percentile(yard, 0.99), theAncestor)
	}
	return r.queryBeside(ctx, d, questions, idle)
}

// queryBeside asks while lines come in as fast as they are taken.
func (r *run) queryBeside(ctx context.Context, d *daemon, questions []question, idle map[string][]time.Duration) error {
	sending1, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := r.send(sending1, d, sending{clients: r.Clients, batch: r.Batch})
		result <- err
	}()
	for _, q := range questions {
		r.progress("query beside ingest: %s", q.name)
		took, err := r.asked(ctx, d, &q)
		if err != nil {
			return err
		}
		before := percentile(idle[q.name], 0.5)
		r.report.less("query, at full ingest", q.name+", p50", "ms", percentile(took, 0.5)).target(3*before).against(before, theIdle)
		r.report.less("query, at full ingest", "  p99", "ms", percentile(took, 0.99)).against(percentile(idle[q.name], 0.99), theIdle)
	}
	cancel()
	return <-result
}

func (r *run) questions(ctx context.Context, ids []string) ([]question, error) {
	t, _, err := r.ancestorTable(ctx)
	if err != nil {
		return nil, err
	}
	rows := func(n int, err error) error {
		if err == nil && n == 0 {
			err = errors.New("nothing found")
		}
		return err
	}
	from, to := r.firstDay().Start(), (r.firstDay() + task.Day(r.Days)).Start()
	span := "from=" + strconv.FormatInt(from/1e6, 10) + "&to=" + strconv.FormatInt(to/1e6, 10)
	days := strconv.Itoa(r.Days) + " days"
	name := func(i int) string { return load.TaskName(i * 7 % 60) }
	return []question{
		{"by id, over " + days, 2, 300,
			func(i int) string { return "/api/v1/invocations/" + ids[i*7919%len(ids)] },
			func(i int) error { return rows(t.Get(r.yard.ancestorIDs[i*7919%len(r.yard.ancestorIDs)])) }},
		{"newest 50 of a task", 5, 100,
			func(i int) string { return "/api/v1/invocations?" + span + "&task_name=" + url.QueryEscape(name(i)) },
			func(i int) error { return rows(t.NewestOfTask(name(i), 50)) }},
		{"newest 50 failures", 5, 100,
			func(int) string { return "/api/v1/invocations?" + span + "&state=FAILURE" },
			func(int) error { return rows(t.NewestFailures(50)) }},
		{"summary of all tasks, percentiles too", 30, 30,
			func(int) string { return "/api/v1/tasks?" + span },
			func(int) error { return rows(t.Summary()) }},
	}, nil
}

// asked asks a question so many times, after one that is not counted. One that
// runs into the daemon's time limit took that long.
func (r *run) asked(ctx context.Context, d *daemon, q *question) ([]time.Duration, error) {
	return r.timed(ctx, q.times, func(i int) error {
		code, body, err := d.get(ctx, q.ask(i))
		if err == nil && code != http.StatusOK && code != http.StatusGatewayTimeout {
			err = fmt.Errorf("%s: the daemon answers %d: %.300s", q.name, code, body)
		}
		return err
	})
}

// timedFor is how long one question is asked again.
const timedFor = 10 * time.Second

// timed calls fn n times, and once before, and returns how long each took. It
// ends early when that takes too long.
func (r *run) timed(ctx context.Context, n int, fn func(i int) error) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	for i, first := 0, time.Now(); i <= n && (i < 3 || time.Since(first) < timedFor); i++ {
		began := time.Now()
		if err := errors.Join(fn(i), ctx.Err()); err != nil {
			return nil, err
		}
		if i > 0 {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	return took, nil
}
