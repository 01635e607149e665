package api

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"daybook/cmd/internal/units"
	"daybook/tsdb/task"
)

// values are a request's parameters that are not empty, by name.
type values map[string][]string

// params reads the query string. known maps the names that are understood to
// the names they stand for.
func params(r *http.Request, known map[string]string) (values, error) {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the query string is malformed: %v", err)
	}
	out := make(values)
	for _, name := range sortedKeys(given) {
		stands, ok := known[name]
		if !ok {
			return nil, refuse(http.StatusBadRequest, "unknown parameter %q", clip(name))
		}
		for _, v := range given[name] {
			if v != "" {
				out[stands] = append(out[stands], v)
			}
		}
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// reader reads parameters one by one and keeps the first thing that is wrong.
type reader struct {
	values values
	now    time.Time
	err    error
}

func (p *reader) fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = refuse(http.StatusBadRequest, "%s: %s", name, fmt.Sprintf(format, args...))
	}
}

// one is the value of a parameter that may be given once, "" if it is absent.
func (p *reader) one(name string) string {
	switch v := p.values[name]; len(v) {
	case 0:
		return ""
	case 1:
		return v[0]
	default:
		p.fail(name, "given %d times, only one is possible", len(v))
		return ""
	}
}

func (p *reader) states(name string) []task.State {
	var out []task.State
	for _, v := range p.values[name] {
		s, err := task.ParseState(v)
		if err != nil {
			p.fail(name, "%v", err)
		}
		out = append(out, s)
	}
	return out
}

func (p *reader) flag(name string, absent bool) bool {
	switch v := p.one(name); v {
	case "":
		return absent
	case "true", "1":
		return true
	case "false", "0":
		return false
	default:
		p.fail(name, "%q is neither true nor false", clip(v))
		return absent
	}
}

func (p *reader) number(name string, absent, low, high int) int {
	v := p.one(name)
	if v == "" {
		return absent
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		p.fail(name, "%q is not a whole number from %d to %d", clip(v), low, high)
		return absent
	}
	return n
}

// millis reads milliseconds, decimals allowed, into microseconds.
func (p *reader) millis(name string) (us int64, given bool) {
	v := p.one(name)
	if v == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > task.MaxMicros/1000 {
		p.fail(name, "%q is not a number of milliseconds", clip(v))
		return 0, false
	}
	return int64(math.Round(f * 1000)), true
}

// age reads a duration such as 10m or 7d.
func (p *reader) age(name string) (d time.Duration, given bool) {
	v := p.one(name)
	if v == "" {
		return 0, false
	}
	d, err := units.ParseDuration(v)
	if err != nil {
		p.fail(name, "%v", err)
	}
	return d, true
}

// moment reads a time into microseconds: RFC 3339, Unix seconds, now, or how
// long before now (-1h, -7d). 0 if it is absent, or before 1970.
func (p *reader) moment(name string) int64 {
	v := p.one(name)
	if v == "" {
		return 0
	}
	if before, ok := strings.CutPrefix(v, "-"); ok {
		if d, err := units.ParseDuration(before); err == nil {
			return max(p.now.Add(-d).UnixMicro(), 0)
		}
	}
	if v == "now" {
		return p.now.UnixMicro()
	}
	if us, err := task.ParseSeconds(v); err == nil {
		return us
	}
	if us, err := task.ParseTimestamp(v); err == nil {
		return us
	}
	// In a query string, the + of +01:00 reads as a space.
	if i := strings.LastIndexByte(v, ' '); i > 0 {
		if us, err := task.ParseTimestamp(v[:i] + "+" + v[i+1:]); err == nil {
			return us
		}
	}
	p.fail(name, "%q is not a time: RFC 3339, Unix seconds, now, or before now as in -1h or -7d", clip(v))
	return 0
}
