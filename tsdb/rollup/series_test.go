package rollup

import (
	"errors"
	"math/rand/v2"
	"testing"

	"daybook/tsdb/task"
)

func TestSeriesAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 17))
		vs := randomInvocations(r, 200, 3)
		step := []Width{Minute, Hour, Day}[r.IntN(3)]
		from := 1_700_000_000_000_000 + int64(r.IntN(3_600_000_000))
		to := from + int64(r.IntN(7_200_000_000))
		s, err := NewSeries(from, to, step)
		if err != nil {
			t.Fatal(err)
		}
		model := map[int64][]task.Invocation{}
		minutes := NewSet(Minute, DefaultLimits)
		for i := range vs {
			at := vs[i].RowTime()
			inside := at >= from && at < to
			if inside {
				model[step.Start(at)] = append(model[step.Start(at)], vs[i])
			}
			// Whole minutes of the range as rollups, its edges as rows.
			if inside && Minute.Start(at) >= from && Minute.Start(at)+Minute.Micros() <= to {
				minutes.Add(&vs[i])
			} else {
				s.Add(&vs[i])
			}
		}
		for k, m := range minutes.All() {
			s.Merge(k.Bucket, m)
		}
		s.Merge(from-2*step.Micros(), of(vs))
		s.Merge(to+2*step.Micros(), of(vs))
		points, at := s.Points(), step.Start(from)
		for _, p := range points {
			want := of(model[at])
			sum := Summarize(want, 0)
			if got := (Point{At: at, Total: sum.Total, Success: sum.Success, Failure: sum.Failure, Retries: sum.Retries,
				FailureRate: sum.FailureRate, Runtime: sum.Runtime}); p != got {
				t.Fatalf("seed %d:\n%+v\n%+v", seed, p, got)
			}
			at += step.Micros()
		}
		if end := at; to > from && (end < to || end-step.Micros() >= to) {
			t.Fatalf("seed %d: the points end at %d, the range at %d", seed, end, to)
		}
	}
}

func TestSeriesBounds(t *testing.T) {
	const min = 60_000_000
	for _, c := range []struct {
		from, to int64
		step     Width
		points   int
		err      error
	}{
		{0, 0, Minute, 0, nil},
		{0, 1, Minute, 1, nil},
		{0, min, Minute, 1, nil},
		{0, min + 1, Minute, 2, nil},
		{min - 1, min + 1, Minute, 2, nil},
		{0, MaxPoints * min, Minute, MaxPoints, nil},
		{0, MaxPoints*min + 1, Minute, 0, ErrPoints},
		{0, task.MaxMicros, Day, 0, ErrPoints},
		{1, 0, Hour, 0, ErrRange},
		{-1, 5, Hour, 0, ErrRange},
		{0, 1 << 62, Hour, 0, ErrRange},
	} {
		s, err := NewSeries(c.from, c.to, c.step)
		if !errors.Is(err, c.err) {
			t.Errorf("%+v: %v", c, err)
		} else if err == nil && len(s.Points()) != c.points {
			t.Errorf("%+v: %d points", c, len(s.Points()))
		}
	}
	if _, err := NewSeries(0, 1, 61); err == nil {
		t.Error("a step of 61 s is accepted")
	}
	for _, c := range []struct {
		w        Width
		us, want int64
	}{{Hour, 3_600_000_000 - 1, 0}, {Hour, 3_600_000_000, 3_600_000_000}, {Minute, -1, -60_000_000}, {Forever, 99, 0}} {
		if got := c.w.Start(c.us); got != c.want {
			t.Errorf("%d.Start(%d) is %d, want %d", c.w, c.us, got, c.want)
		}
	}
}
