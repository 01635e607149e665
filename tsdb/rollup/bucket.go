package rollup

import "fmt"

// Width is the length of a bucket in seconds. Buckets are half-open and
// aligned to UTC.
type Width int64

// The widths that rollups are kept at.
const (
	Minute Width = 60
	Hour   Width = 60 * 60
	Day    Width = 24 * 60 * 60
	// Forever puts everything into one bucket, which starts at 0: the width
	// of a Set that adds up whole ranges.
	Forever Width = 0
)

// ParseWidth is the width of a step in seconds: 60, 3600 or 86400.
func ParseWidth(seconds int64) (Width, error) {
	switch w := Width(seconds); w {
	case Minute, Hour, Day:
		return w, nil
	}
	return 0, fmt.Errorf("step %d: want %d, %d or %d seconds", seconds, Minute, Hour, Day)
}

// Micros is the width in microseconds.
func (w Width) Micros() int64 { return int64(w) * 1_000_000 }

// Start is the first microsecond of the bucket that holds a time.
func (w Width) Start(us int64) int64 {
	if w <= 0 {
		return 0
	}
	m := w.Micros()
	start := us - us%m
	if us%m < 0 {
		start -= m
	}
	return start
}
