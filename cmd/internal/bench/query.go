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
	yard   func(i int) error  // nil if the ancestor has nothing like it
}

// query asks over days that are sealed, then of today, without ingest and
// beside it.
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
	past, today, err := r.questions(ctx, ids)
	if err != nil {
		return err
	}
	cold, err := r.askedFirst(ctx, dir, past)
	if err != nil {
		return err
	}
	d, err := r.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	idle := map[string][]time.Duration{}
	if err := r.queryIdle(ctx, d, past, idle, cold); err != nil {
		return err
	}
	if err := r.fillToday(ctx, d); err != nil {
		return err
	}
	if err := r.queryIdle(ctx, d, today, idle, nil); err != nil {
		return err
	}
	return r.queryBeside(ctx, d, slices.Concat(past, today), idle)
}

// coldStarts is how often the first answer after a start is measured.
const coldStarts = 5

// askedFirst asks each question as the first one after a start: nothing is
// remembered and no file has been attached. Files are in the system's cache.
func (r *run) askedFirst(ctx context.Context, dir string, questions []question) (map[string][]time.Duration, error) {
	cold := map[string][]time.Duration{}
	for _, q := range questions {
		r.progress("query: the first after a start: %s", q.name)
		for i := range coldStarts {
			d, err := r.start(ctx, dir)
			if err != nil {
				return nil, err
			}
			began := time.Now()
			err = r.ask(ctx, d, &q, i)
			cold[q.name] = append(cold[q.name], time.Since(began))
			if err := errors.Join(err, d.stop()); err != nil {
				return nil, err
			}
		}
		slices.Sort(cold[q.name])
	}
	return cold, nil
}

// fillToday makes a live day and has some invocations in the head.
func (r *run) fillToday(ctx context.Context, d *daemon) error {
	r.progress("query: filling today")
	s := sending{clients: r.Clients, batch: r.Batch, length: r.Length}
	if _, err := r.send(ctx, d, s); err != nil {
		return err
	}
	if err := d.cutAll(ctx, false); err != nil {
		return err
	}
	s.length, s.rows = 0, int64(max(20, r.Clients)*r.Batch)
	_, err := r.send(ctx, d, s)
	return err
}

func (r *run) queryIdle(ctx context.Context, d *daemon, questions []question, idle, cold map[string][]time.Duration) error {
	for _, q := range questions {
		r.progress("query: %s", q.name)
		var yard []time.Duration
		if q.yard != nil {
			var err error
			if yard, err = r.timed(ctx, q.times, q.yard); err != nil {
				return fmt.Errorf("%s, of the ancestor: %w", q.name, err)
			}
		}
		took, err := r.asked(ctx, d, &q)
		if err != nil {
			return err
		}
		idle[q.name] = took
		const bench = "query"
		r.against(r.report.less(bench, q.name+", p50", "ms", percentile(took, 0.5)).target(q.target), percentile(yard, 0.5), theAncestor)
		r.against(r.report.less(bench, "  p99", "ms", percentile(took, 0.99)), percentile(yard, 0.99), theAncestor)
		if first := cold[q.name]; first != nil {
			r.against(r.report.less(bench, "  the first after a start, median", "ms", percentile(first, 0.5)).target(q.target), percentile(yard, 0.5), theAncestor)
		}
	}
	return nil
}

// queryBeside asks while lines come in as fast as they are taken.
func (r *run) queryBeside(ctx context.Context, d *daemon, questions []question, idle map[string][]time.Duration) (err error) {
	sendCtx, cancel := context.WithCancel(ctx)
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := r.send(sendCtx, d, sending{clients: r.Clients, batch: r.Batch, stop: stop})
		result <- err
	}()
	defer func() {
		if err != nil {
			cancel() // what is under way does not count then
			<-result
			return
		}
		close(stop)
		err = <-result
		cancel()
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
	return nil
}

// questions are those of days that are sealed, and those that today has a part
// in.
func (r *run) questions(ctx context.Context, ids []string) (past, today []question, err error) {
	t, _, err := r.ancestorTable(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows := func(n int, err error) error {
		if err == nil && n == 0 {
			err = errors.New("nothing found")
		}
		return err
	}
	from, to := r.firstDay().Start(), (r.firstDay() + task.Day(r.Days)).Start()
	days := strconv.Itoa(r.Days) + " days"
	// A span is shorter by so many minutes at both ends.
	span := func(minutes int) string {
		return "from=" + strconv.FormatInt(from/1e6+int64(minutes)*60, 10) + "&to=" + strconv.FormatInt(to/1e6-int64(minutes)*60, 10)
	}
	name := func(i int) string { return load.TaskName(i * 7 % 60) }
	newest := func(i int) error { return rows(t.NewestOfTask(name(i), 50)) }
	all := func(int) error { return rows(t.Summary()) }
	past = []question{
		{"by id, over " + days, 2, 300,
			func(i int) string { return "/api/v1/invocations/" + ids[i*7919%len(ids)] },
			func(i int) error { return rows(t.Get(r.yard.ancestorIDs[i*7919%len(r.yard.ancestorIDs)])) }},
		{"newest 50 of a task", 5, 100,
			func(i int) string { return "/api/v1/invocations?" + span(0) + "&task_name=" + url.QueryEscape(name(i)) }, newest},
		{"newest 50 failures", 5, 100,
			func(int) string { return "/api/v1/invocations?" + span(0) + "&state=FAILURE" },
			func(int) error { return rows(t.NewestFailures(50)) }},
		{"summary of all tasks, percentiles too, same span", 30, 30,
			func(int) string { return "/api/v1/tasks?" + span(0) }, all},
		{"summary of all tasks, another span each time", 30, 30,
			func(i int) string { return "/api/v1/tasks?" + span(60*(1+i%11)+i/11) }, all},
	}
	today = []question{
		{"newest 50 of a task, today too", 5, 100,
			func(i int) string { return "/api/v1/invocations?task_name=" + url.QueryEscape(name(i)) }, newest},
		{"summary of the last 24 hours", 30, 30,
			func(int) string { return "/api/v1/tasks" }, nil},
	}
	return past, today, nil
}

// asked asks a question so many times, after one that is not counted.
func (r *run) asked(ctx context.Context, d *daemon, q *question) ([]time.Duration, error) {
	return r.timed(ctx, q.times, func(i int) error { return r.ask(ctx, d, q, i) })
}

// ask asks once. What runs into the daemon's time limit took that long.
func (r *run) ask(ctx context.Context, d *daemon, q *question, i int) error {
	code, body, err := d.get(ctx, q.ask(i))
	if err == nil && code != http.StatusOK && code != http.StatusGatewayTimeout {
		err = fmt.Errorf("%s: the daemon answers %d: %.300s", q.name, code, body)
	}
	return err
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
