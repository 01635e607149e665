package rollup

import (
	"errors"
	"fmt"

	"daybook/tsdb/task"
)

// MaxPoints is the most points a Series can have.
const MaxPoints = 11_000

// The errors of NewSeries.
var (
	// ErrPoints is returned for a range of more than MaxPoints steps.
	ErrPoints = fmt.Errorf("more than %d points", MaxPoints)
	// ErrRange is returned for a range that ends before it begins, or that
	// does not lie between 1970 and 9999.
	ErrRange = errors.New("not a range of time between 1970 and 9999")
)

// Series is the history of one task in steps. The first step is the one that
// holds the start of the range, the last the one that holds its last
// microsecond; steps without an invocation are zero.
type Series struct {
	from, to int64
	step     Width
	first    int64
	points   []*point // nil where nothing was added
}

// point is the part of a Rollup that a series shows.
type point struct {
	counts  Counts
	runtime Sketch
}

// NewSeries returns a series of zeros over from ≤ time < to, in microseconds.
func NewSeries(from, to int64, step Width) (*Series, error) {
	if _, err := ParseWidth(int64(step)); err != nil {
		return nil, err
	}
	// The first bounds keep what follows from overflowing.
	if from < 0 || to > task.MaxMicros+1 || to < from {
		return nil, ErrRange
	}
	s := &Series{from: from, to: to, step: step, first: step.Start(from)}
	n := int64(0)
	if to > from {
		n = (step.Start(to-1)-s.first)/step.Micros() + 1
	}
	if n > MaxPoints {
		return nil, fmt.Errorf("%d steps of %d s: %w", n, step, ErrPoints)
	}
	s.points = make([]*point, n)
	return s, nil
}

func (s *Series) at(us int64) *point {
	if len(s.points) == 0 || us < s.first {
		return nil
	}
	i := (us - s.first) / s.step.Micros()
	if i >= int64(len(s.points)) {
		return nil
	}
	if s.points[i] == nil {
		s.points[i] = &point{}
	}
	return s.points[i]
}

// Add counts an invocation, if its row time is in the range.
func (s *Series) Add(v *task.Invocation) {
	us := v.RowTime()
	if us < s.from || us >= s.to {
		return
	}
	if p := s.at(us); p != nil {
		p.counts.add(v)
		if v.Outcome.HasRuntime {
			p.runtime.Add(v.Outcome.Runtime)
		}
	}
}

// Merge adds a rollup to the step that holds a time; outside the range it does
// nothing. That its bucket is no wider than a step, and lies in the range as a
// whole, is the caller's business.
func (s *Series) Merge(at int64, r *Rollup) {
	if p := s.at(at); p != nil {
		p.counts.merge(&r.Counts)
		p.runtime.Merge(&r.Runtime)
	}
}

// Point is one step of a Series.
type Point struct {
	At          int64 // its first microsecond
	Total       uint64
	Success     uint64
	Failure     uint64
	Retries     uint64
	FailureRate float64
	Runtime     Distribution
}

// Points are all steps, in order.
func (s *Series) Points() []Point {
	out := make([]Point, len(s.points))
	for i, p := range s.points {
		out[i].At = s.first + int64(i)*s.step.Micros()
		if p == nil {
			continue
		}
		out[i].Total = p.counts.Total()
		out[i].Success = p.counts.States[task.StateSuccess]
		out[i].Failure = p.counts.States[task.StateFailure]
		out[i].Retries = p.counts.Retries
		out[i].FailureRate = p.counts.FailureRate()
		out[i].Runtime = p.runtime.Distribution()
	}
	return out
}
