package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	year = 365 * day
)

// durationUnits are in the order in which they may follow each other.
var durationUnits = []struct {
	name   string
	length time.Duration
	print  bool // weeks and years are not used for printing: 15d, not 2w1d
}{
	{"y", year, false}, {"w", week, false}, {"d", day, true}, {"h", time.Hour, true}, {"m", time.Minute, true},
	{"s", time.Second, true}, {"ms", time.Millisecond, true},
}

// ParseDuration reads a duration, which is never negative. 0 needs no unit.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	bad := fmt.Errorf("%q is not a duration such as 30s, 10m, 36h or 7d", clip(s))
	var total time.Duration
	next, rest := 0, s
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, bad
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "dhmswy"))
		unit := -1
		for i := next; i < len(durationUnits); i++ {
			if durationUnits[i].name == rest[:letters] {
				unit = i
			}
		}
		if unit < 0 {
			return 0, bad
		}
		length := durationUnits[unit].length
		if n > (math.MaxInt64-int64(total))/int64(length) {
			return 0, fmt.Errorf("%q is too long a duration", clip(s))
		}
		total += time.Duration(n) * length
		next, rest = unit+1, rest[letters:]
	}
	if s == "" {
		return 0, bad
	}
	return total, nil
}

// FormatDuration prints what ParseDuration reads, to the millisecond.
func FormatDuration(d time.Duration) string {
	if d < time.Millisecond {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits {
		// 24h stays 24h, as one says it; 36h is not a number of days.
		if !u.print || u.length == day && (d < 2*day || d%day != 0) {
			continue
		}
		if n := d / u.length; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d -= n * u.length
		}
	}
	return b.String()
}

func clip(s string) string {
	const limit = 64
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
