package task

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxMicros is the last representable time: the end of the year 9999.
const MaxMicros = 253402300799_999_999

var errTime = errors.New("not a time between 1970 and 9999")

// ParseSeconds reads Unix seconds as a decimal into microseconds, exactly:
// digits beyond the sixth are rounded half up.
func ParseSeconds(s string) (int64, error) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0) || f > MaxMicros/1e6 {
			return 0, errTime
		}
		s = strconv.FormatFloat(f, 'f', 7, 64)
	}
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || sec > MaxMicros/1_000_000 {
		return 0, errTime
	}
	us := int64(sec) * 1_000_000
	scale := int64(100_000)
	for i := 0; i < len(frac); i++ {
		d := int64(frac[i]) - '0'
		if d < 0 || d > 9 {
			return 0, errTime
		}
		if i < 6 {
			us += d * scale
			scale /= 10
		} else if i == 6 && d >= 5 {
			us++
		}
	}
	if us <= 0 || us > MaxMicros {
		return 0, errTime
	}
	return us, nil
}

// AppendSeconds prints microseconds as Unix seconds, the shortest exact decimal.
func AppendSeconds(dst []byte, us int64) []byte {
	dst = strconv.AppendInt(dst, us/1_000_000, 10)
	frac := us % 1_000_000
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for scale := int64(100_000); frac > 0; scale /= 10 {
		dst = append(dst, byte('0'+frac/scale))
		frac %= scale
	}
	return dst
}

// timeLayouts are the texts accepted for a time; Celery writes ISO 8601 with
// or without an offset. Without one it is UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"}

// ParseTimestamp reads an RFC 3339 time into microseconds.
func ParseTimestamp(s string) (int64, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			if us := t.UnixMicro(); us > 0 && us <= MaxMicros {
				return us, nil
			}
			return 0, errTime
		}
	}
	return 0, fmt.Errorf("%q: %w in RFC 3339", clip(s, 64), errTime)
}

// AppendMillis prints microseconds as milliseconds, the shortest exact decimal.
func AppendMillis(dst []byte, us int64) []byte {
	dst = strconv.AppendInt(dst, us/1000, 10)
	frac := us % 1000
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for scale := int64(100); frac > 0; scale /= 10 {
		dst = append(dst, byte('0'+frac/scale))
		frac %= scale
	}
	return dst
}
