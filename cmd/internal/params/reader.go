package params

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"daybook/cmd/internal/units"
	"daybook/tsdb/task"
)

// Error says which parameter is wrong, and how.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

// Values are parameters that are not empty, by the names that they stand for.
type Values map[string][]string

// Parse sorts out parameters. known maps the names that are understood to the
// names they stand for.
func Parse(given url.Values, known map[string]string) (Values, error) {
	out := make(Values)
	for _, name := range sortedKeys(given) {
		stands, ok := known[name]
		if !ok {
			return nil, &Error{fmt.Sprintf("unknown parameter %q", Clip(name))}
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

// Clip shortens what came from outside for an error message, to some 200 bytes.
func Clip(s string) string {
	const limit = 200
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// Reader reads parameters one by one and keeps the first thing that is wrong.
type Reader struct {
	Values Values
	Now    time.Time
	err    error
}

// Err is the first thing that was wrong, an *Error.
func (p *Reader) Err() error { return p.err }

// Fail says that a parameter is wrong.
func (p *Reader) Fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{name + ": " + fmt.Sprintf(format, args...)}
	}
}

// One is the value of a parameter that may be given once, "" if it is absent.
func (p *Reader) One(name string) string {
	switch v := p.Values[name]; len(v) {
	case 0:
		return ""
	case 1:
		return v[0]
	default:
		p.Fail(name, "given %d times, only one is possible", len(v))
		return ""
	}
}

func (p *Reader) states(name string) []task.State {
	var out []task.State
	for _, v := range p.Values[name] {
		s, err := task.ParseState(v)
		if err != nil {
			p.Fail(name, "%v", err)
		}
		out = append(out, s)
	}
	return out
}

// Flag is true or false.
func (p *Reader) Flag(name string, absent bool) bool {
	switch v := p.One(name); v {
	case "":
		return absent
	case "true", "1":
		return true
	case "false", "0":
		return false
	default:
		p.Fail(name, "%q is neither true nor false", Clip(v))
		return absent
	}
}

// Number is a whole number from low to high.
func (p *Reader) Number(name string, absent, low, high int) int {
	v := p.One(name)
	if v == "" {
		return absent
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		p.Fail(name, "%q is not a whole number from %d to %d", Clip(v), low, high)
		return absent
	}
	return n
}

// millis reads milliseconds, decimals allowed, into microseconds.
func (p *Reader) millis(name string) (us int64, given bool) {
	v := p.One(name)
	if v == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > task.MaxMicros/1000 {
		p.Fail(name, "%q is not a number of milliseconds", Clip(v))
		return 0, false
	}
	return int64(math.Round(f * 1000)), true
}

// age reads a duration such as 10m or 7d.
func (p *Reader) age(name string) (d time.Duration, given bool) {
	v := p.One(name)
	if v == "" {
		return 0, false
	}
	d, err := units.ParseDuration(v)
	if err != nil {
		p.Fail(name, "%v", err)
	}
	return d, true
}

// Moment reads a time into microseconds: RFC 3339, a date (its first moment in
// UTC), Unix seconds, now, or how long before now (-1h, -7d). 0 if it is absent, or before 1970.
func (p *Reader) Moment(name string) int64 {
	v := p.One(name)
	if v == "" {
		return 0
	}
	if before, ok := strings.CutPrefix(v, "-"); ok {
		if d, err := units.ParseDuration(before); err == nil {
			return max(p.Now.Add(-d).UnixMicro(), 0)
		}
	}
	if v == "now" {
		return p.Now.UnixMicro()
	}
	if us, err := task.ParseSeconds(v); err == nil {
		return us
	}
	if us, err := task.ParseTimestamp(v); err == nil {
		return us
	}
	if d, err := task.ParseDay(v); err == nil && d >= 0 {
		return d.Start()
	}
	// In a query string, the + of +01:00 reads as a space.
	if i := strings.LastIndexByte(v, ' '); i > 0 {
		if us, err := task.ParseTimestamp(v[:i] + "+" + v[i+1:]); err == nil {
			return us
		}
	}
	p.Fail(name, "%q is not a time: RFC 3339, a date, Unix seconds, now, or before now as in -1h or -7d", Clip(v))
	return 0
}
