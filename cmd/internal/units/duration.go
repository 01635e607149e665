package units

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// ParseDuration reads a duration such as 30s, 10m, 36h or 7d, as Prometheus
// writes them; it is never negative. 0 needs no unit.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	d, err := model.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 30s, 10m, 36h or 7d", clip(s))
	}
	return time.Duration(d), nil
}

const day = 24 * time.Hour

// durationUnits are those used for printing, the largest first: 15d, not 2w1d.
var durationUnits = []struct {
	name   string
	length time.Duration
}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// FormatDuration prints what ParseDuration reads, to the millisecond.
func FormatDuration(d time.Duration) string {
	if d < time.Millisecond {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits {
		// 24h stays 24h, as one says it; 36h is not a number of days.
		if u.length == day && (d < 2*day || d%day != 0) {
			continue
		}
		if n := d / u.length; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d -= n * u.length
		}
	}
	return b.String()
}
