package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"daybook/cmd/internal/params"
	"daybook/tsdb"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// dayMicros is the default range of summaries, in microseconds.
const dayMicros = 24 * 60 * 60 * 1_000_000

var (
	rangeParams  = map[string]string{"from": "from", "to": "to"}
	seriesParams = map[string]string{"from": "from", "to": "to", "step": "step"}
)

// span reads from and to; by default the last 24 hours, from the beginning of
// the hour in which they begin, as a day that is past has rollups of hours, to
// the end of the present minute: part of one would be read row by row.
func (p *reader) span() (from, to int64) {
	from, to = p.FromTime(), p.ToTime()
	back := to
	if p.One("to") == "" {
		back = rollup.Minute.Start(p.Now.UnixMicro())
		to = back + rollup.Minute.Micros()
	}
	if p.One("from") == "" {
		from = max(rollup.Hour.Start(back-dayMicros), 0)
	}
	switch {
	case from <= to:
	case p.One("to") == "":
		p.Fail("from", "after now, and there is no to")
	default:
		p.Fail("from", "after to")
	}
	return from, to
}

func (a *API) tasks(w http.ResponseWriter, r *http.Request, _ string) error {
	return a.summaries(w, r, "", func(dst []byte, list []tsdb.TaskSummary, c *tsdb.Coverage) ([]byte, error) {
		dst = append(dst, `{"tasks":[`...)
		for i := range list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendSummary(dst, &list[i]), '}')
		}
		return append(appendCoverage(append(dst, `],"coverage":`...), c), '}'), nil
	})
}

// task answers /api/v1/tasks/{name}.
func (a *API) task(w http.ResponseWriter, r *http.Request, name string) error {
	return a.summaries(w, r, name, func(dst []byte, list []tsdb.TaskSummary, c *tsdb.Coverage) ([]byte, error) {
		if len(list) == 0 {
			return nil, &statusError{code: http.StatusNotFound, text: fmt.Sprintf("no invocation of task %q in this range", params.Clip(name)), coverage: c}
		}
		dst = appendSummary(dst, &list[0])
		return append(appendCoverage(append(dst, `,"coverage":`...), c), '}'), nil
	})
}

func (a *API) summaries(w http.ResponseWriter, r *http.Request, name string, print func([]byte, []tsdb.TaskSummary, *tsdb.Coverage) ([]byte, error)) error {
	v, err := parameters(r, rangeParams)
	if err != nil {
		return err
	}
	p := a.reader(v)
	from, to := p.span()
	if p.Err() != nil {
		return p.Err()
	}
	var list []tsdb.TaskSummary
	var c tsdb.Coverage
	err = a.query(r, func(ctx context.Context) (err error) {
		list, c, err = a.Store.Tasks(ctx, from, to, name)
		return err
	})
	if err != nil {
		return err
	}
	out, err := print(nil, list, &c)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, append(out, '\n'))
	return nil
}

// appendSummary prints the fields of one task, without the closing brace.
func appendSummary(dst []byte, t *tsdb.TaskSummary) []byte {
	count := func(name string, n uint64) { dst = appendCount(dst, name, n) }
	number := func(name string, f float64, known bool) { dst = appendNumber(dst, name, f, known) }
	dst = task.AppendJSONString(append(dst, `{"task_name":`...), t.Name)
	count("total_count", t.Total)
	count("success_count", t.Success)
	count("failure_count", t.Failure)
	count("revoked_count", t.Revoked)
	count("rejected_count", t.Rejected)
	count("given_up_count", t.GivenUp)
	count("retries_total", t.Retries)
	count("active_count", t.Active)
	number("failure_rate", t.FailureRate, true)
	number("rate_per_min", t.RatePerMin, true)
	some := t.Runtime.Count > 0
	number("p50_ms", t.Runtime.P50, some)
	number("p95_ms", t.Runtime.P95, some)
	number("p99_ms", t.Runtime.P99, some)
	number("mean_ms", t.Runtime.Mean, some)
	number("min_ms", t.Runtime.Min, some)
	number("max_ms", t.Runtime.Max, some)
	number("wait_p50_ms", t.Wait.P50, t.Wait.Count > 0)
	number("wait_p95_ms", t.Wait.P95, t.Wait.Count > 0)
	dst = appendRanking(append(dst, `,"top_exceptions":`...), "type", t.Exceptions)
	dst = appendRanking(append(dst, `,"top_workers":`...), "worker", t.Workers)
	dst = appendRanking(append(dst, `,"top_queues":`...), "queue", t.Queues)
	count("top_exceptions_other", t.Exceptions.Other)
	count("top_workers_other", t.Workers.Other)
	count("top_queues_other", t.Queues.Other)
	return dst
}

func appendRanking(dst []byte, key string, r rollup.Ranking) []byte {
	dst = append(dst, '[')
	for i, c := range r.Named {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"`...), key...), `":`...)
		dst = task.AppendJSONString(dst, c.Name)
		dst = append(strconv.AppendUint(append(dst, `,"count":`...), c.Count, 10), '}')
	}
	return append(dst, ']')
}

// series answers /api/v1/tasks/{name}/series.
func (a *API) series(w http.ResponseWriter, r *http.Request, name string) error {
	v, err := parameters(r, seriesParams)
	if err != nil {
		return err
	}
	p := a.reader(v)
	from, to := p.span()
	step := p.step(rollup.Hour)
	if p.Err() != nil {
		return p.Err()
	}
	if _, err := rollup.NewSeries(from, to, step); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	var points []rollup.Point
	var c tsdb.Coverage
	err = a.query(r, func(ctx context.Context) (err error) {
		points, c, err = a.Store.Series(ctx, name, from, to, step)
		return err
	})
	if err != nil {
		return err
	}
	dst := []byte(`{"points":[`)
	for i, x := range points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = task.AppendSeconds(append(dst, `{"t":`...), x.At)
		dst = appendCount(dst, "total_count", x.Total)
		dst = appendCount(dst, "success_count", x.Success)
		dst = appendCount(dst, "failure_count", x.Failure)
		dst = appendCount(dst, "retries_total", x.Retries)
		some := x.Runtime.Count > 0
		dst = appendNumber(dst, "p50_ms", x.Runtime.P50, some)
		dst = appendNumber(dst, "p95_ms", x.Runtime.P95, some)
		dst = appendNumber(dst, "p99_ms", x.Runtime.P99, some)
		dst = append(appendNumber(dst, "failure_rate", x.FailureRate, true), '}')
	}
	dst = appendCoverage(append(dst, `],"coverage":`...), &c)
	a.reply(w, r, http.StatusOK, append(dst, "}\n"...))
	return nil
}

// appendName prints a field that is not the first, up to its value.
func appendName(dst []byte, name string) []byte {
	return append(append(append(dst, `,"`...), name...), `":`...)
}

func appendCount(dst []byte, name string, n uint64) []byte {
	return strconv.AppendUint(appendName(dst, name), n, 10)
}

// appendNumber prints null for what is not known.
func appendNumber(dst []byte, name string, f float64, known bool) []byte {
	dst = appendName(dst, name)
	if !known {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// step reads the width of steps in seconds.
func (p *reader) step(def rollup.Width) rollup.Width {
	if p.One("step") == "" {
		return def
	}
	n, err := strconv.ParseInt(p.One("step"), 10, 64)
	if err != nil {
		p.Fail("step", "%q is not a number of seconds: 60, 3600 or 86400", params.Clip(p.One("step")))
		return def
	}
	w, err := rollup.ParseWidth(n)
	if err != nil {
		p.Fail("step", "%d: want 60, 3600 or 86400 seconds", n)
	}
	return w
}
