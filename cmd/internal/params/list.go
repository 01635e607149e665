package params

import (
	"hash/fnv"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"

	"daybook/tsdb"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// The limits of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// FilterNames are the parameters that say which invocations are wanted, by
// the names that may be used for them.
var FilterNames = map[string]string{
	"task_name": "task_name", "task": "task_name",
	"state": "state", "worker": "worker", "queue": "queue", "worker_group": "worker_group",
	"exception_type": "exception_type", "exception": "exception_type",
	"root_id": "root_id", "root": "root_id", "task_id": "task_id",
	"from": "from", "to": "to",
	"min_runtime_ms": "min_runtime_ms", "max_runtime_ms": "max_runtime_ms", "min_retries": "min_retries",
	"open": "open", "min_age": "min_age", "q": "q",
}

// ListNames are those of GET /api/v1/invocations.
var ListNames = func() map[string]string {
	all := map[string]string{"order": "order", "details": "details", "limit": "limit", "cursor": "cursor"}
	for name, stands := range FilterNames {
		all[name] = stands
	}
	return all
}()

// List is a query and what its cursors have to carry.
type List struct {
	tsdb.Query
	filters uint64 // fingerprint of what was asked for, as it was written
}

// ParseList reads the parameters of GET /api/v1/invocations. The error is an
// *Error.
func ParseList(given url.Values, now time.Time) (List, error) {
	v, err := Parse(given, ListNames)
	if err != nil {
		return List{}, err
	}
	p := &Reader{Values: v, Now: now}
	w := List{Query: tsdb.Query{Filter: p.Filter(), Text: p.Text()}, filters: fingerprint(v)}
	w.Limit = p.Number("limit", DefaultLimit, 1, MaxLimit)
	w.Details = p.Flag("details", true)
	switch order := p.One("order"); order {
	case "", "newest":
	case "oldest":
		w.Oldest = true
	default:
		p.Fail("order", "%q is neither newest nor oldest", Clip(order))
	}
	at := p.One("cursor")
	if p.err != nil || at == "" {
		return w, p.err
	}
	return w, w.resume(at)
}

// Filter reads the parameters of FilterNames but q.
func (p *Reader) Filter() task.Filter {
	f := task.Filter{
		TaskID:        p.One("task_id"),
		TaskNames:     p.Values["task_name"],
		States:        p.states("state"),
		Workers:       p.Values["worker"],
		Queues:        p.Values["queue"],
		WorkerGroup:   p.One("worker_group"),
		ExceptionType: p.One("exception_type"),
		RootID:        p.One("root_id"),
		From:          p.FromTime(),
		To:            p.ToTime(),
		MinRetries:    int32(p.Number("min_retries", 0, 0, math.MaxInt32)),
		Open:          p.Flag("open", false),
	}
	f.MinRuntime, f.HasMinRuntime = p.millis("min_runtime_ms")
	f.MaxRuntime, f.HasMaxRuntime = p.millis("max_runtime_ms")
	if age, ok := p.age("min_age"); ok {
		f.Open, f.OpenBefore = true, max(p.Now.Add(-age).UnixMicro(), 1)
	}
	if f.To != 0 && f.From > f.To {
		p.Fail("from", "after to")
	}
	return f
}

// Text reads the words to be found.
func (p *Reader) Text() *text.Query {
	words := p.One("q")
	if words == "" {
		return nil
	}
	q, err := text.Parse(words)
	if err != nil {
		p.Fail("q", "%v", err)
		return nil
	}
	return q
}

// FromTime is like any moment, but 0 is how scripts say: from the beginning.
func (p *Reader) FromTime() int64 {
	if v := p.One("from"); v == "0" {
		return 0
	}
	return p.Moment("from")
}

// ToTime is like any moment, but one before 1970 is refused: 0 is no limit.
func (p *Reader) ToTime() int64 {
	to := p.Moment("to")
	if to == 0 && p.One("to") != "" {
		p.Fail("to", "before 1970")
	}
	return to
}

// fingerprint is a hash of the filters as they were written: relative times
// stay relative, so that the same request with a cursor has the same one.
func fingerprint(v Values) uint64 {
	h := fnv.New64a()
	var buf []byte
	for _, name := range sortedKeys(v) {
		if _, filter := FilterNames[name]; !filter {
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
