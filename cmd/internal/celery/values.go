package celery

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"daybook/tsdb/task"
)

// timestamp reads Unix seconds, as Celery sends them, or an RFC 3339 string.
func (d *Decoder) timestamp(v *value) (int64, error) {
	switch v.kind {
	case kindNumber:
		us, err := task.ParseSeconds(string(v.raw))
		if err != nil {
			return 0, fmt.Errorf("timestamp %s: %w", clip(v.raw), err)
		}
		return us, nil
	case kindString:
		us, err := task.ParseTimestamp(string(d.bytes(v)))
		if err != nil {
			return 0, fmt.Errorf("timestamp: %w", err)
		}
		return us, nil
	case kindNone, kindNull:
		return 0, errors.New("timestamp is missing")
	}
	return 0, fmt.Errorf("timestamp %s is neither a number nor a string", clip(v.raw))
}

// when reads eta and expires, ISO 8601 texts of Celery's or Unix seconds; 0 for
// anything else.
func (d *Decoder) when(v *value) int64 {
	if v.kind != kindString && v.kind != kindNumber {
		return 0
	}
	us, err := d.timestamp(v)
	if err != nil {
		return 0
	}
	return us
}

// integer is a whole number from 0, else absent.
func integer(v *value, absent int64) int64 {
	if v.kind != kindNumber {
		return absent
	}
	n, err := strconv.ParseInt(string(v.raw), 10, 64)
	if err != nil || n < 0 {
		return absent
	}
	return n
}

// duration turns seconds into microseconds.
func duration(v *value) (us int64, ok bool) {
	if v.kind != kindNumber {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(string(v.raw), 64)
	if err != nil || !(seconds >= 0 && seconds <= task.MaxMicros/1e6) {
		return 0, false
	}
	return int64(math.Round(seconds * 1e6)), true
}

// clip quotes a value in an error message.
func clip(raw []byte) string {
	const most = 40
	if len(raw) > most {
		return strconv.QuoteToASCII(string(raw[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(raw))
}
