package api

import (
	"hash/fnv"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"daybook/tsdb"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// filterParams are the parameters that say which invocations are wanted, by
// the names that may be used for them.
var filterParams = map[string]string{
	"task_name": "task_name", "task": "task_name",
	"state": "state", "worker": "worker", "queue": "queue", "worker_group": "worker_group",
	"exception_type": "exception_type", "exception": "exception_type",
	"root_id": "root_id", "root": "root_id", "task_id": "task_id",
	"from": "from", "to": "to",
	"min_runtime_ms": "min_runtime_ms", "max_runtime_ms": "max_runtime_ms", "min_retries": "min_retries",
	"open": "open", "min_age": "min_age", "q": "q",
}

// listParams are those of GET /api/v1/invocations.
var listParams = func() map[string]string {
	all := map[string]string{"order": "order", "details": "details", "limit": "limit", "cursor": "cursor"}
	for name, stands := range filterParams {
		all[name] = stands
	}
	return all
}()

// walk is a query and what its cursors have to carry.
type walk struct {
	tsdb.Query
	filters uint64 // fingerprint of what was asked for, as it was written
}

// parseList reads the parameters of GET /api/v1/invocations.
func parseList(r *http.Request, now time.Time) (walk, error) {
	v, err := params(r, listParams)
	if err != nil {
		return walk{}, err
	}
	p := &reader{values: v, now: now}
	w := walk{Query: tsdb.Query{Filter: p.filter(), Text: p.text()}, filters: fingerprint(v)}
	w.Limit = p.number("limit", defaultLimit, 1, maxLimit)
	w.Details = p.flag("details", true)
	switch order := p.one("order"); order {
	case "", "newest":
	case "oldest":
		w.Oldest = true
	default:
		p.fail("order", "%q is neither newest nor oldest", clip(order))
	}
	at := p.one("cursor")
	if p.err != nil || at == "" {
		return w, p.err
	}
	return w, w.resume(at)
}

func (p *reader) filter() task.Filter {
	f := task.Filter{
		TaskID:        p.one("task_id"),
		TaskNames:     p.values["task_name"],
		States:        p.states("state"),
		Workers:       p.values["worker"],
		Queues:        p.values["queue"],
		WorkerGroup:   p.one("worker_group"),
		ExceptionType: p.one("exception_type"),
		RootID:        p.one("root_id"),
		From:          p.from(),
		To:            p.moment("to"),
		MinRetries:    int32(p.number("min_retries", 0, 0, math.MaxInt32)),
		Open:          p.flag("open", false),
	}
	f.MinRuntime, f.HasMinRuntime = p.millis("min_runtime_ms")
	f.MaxRuntime, f.HasMaxRuntime = p.millis("max_runtime_ms")
	if age, ok := p.age("min_age"); ok {
		f.Open, f.OpenBefore = true, max(p.now.Add(-age).UnixMicro(), 1)
	}
	switch {
	case p.one("to") != "" && f.To == 0:
		p.fail("to", "before 1970")
	case f.To != 0 && f.From > f.To:
		p.fail("from", "after to")
	}
	return f
}

// text reads the words to be found.
func (p *reader) text() *text.Query {
	words := p.one("q")
	if words == "" {
		return nil
	}
	q, err := text.Parse(words)
	if err != nil {
		p.fail("q", "%v", err)
		return nil
	}
	return q
}

// from is like any moment, but 0 is how scripts say: from the beginning.
func (p *reader) from() int64 {
	if v := p.one("from"); v == "0" {
		return 0
	}
	return p.moment("from")
}

// fingerprint is a hash of the filters as they were written: relative times
// stay relative, so that the same request with a cursor has the same one.
func fingerprint(v values) uint64 {
	h := fnv.New64a()
	var buf []byte
	for _, name := range sortedKeys(v) {
		if _, filter := filterParams[name]; !filter {
			continue
		}
		list := slices.Clone(v[name])
		slices.Sort(list)
		for _, s := range slices.Compact(list) {
			buf = strconv.AppendQuote(strconv.AppendQuote(buf[:0], name), s)
			h.Write(buf) // a hash never fails
		}
	}
	return h.Sum64()
}
