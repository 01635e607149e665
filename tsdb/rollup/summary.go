package rollup

import "daybook/tsdb/task"

// Summary is what a client is told about a task over a range.
type Summary struct {
	Total       uint64
	Success     uint64
	Failure     uint64
	Revoked     uint64
	Rejected    uint64
	GivenUp     uint64
	Retries     uint64  // attempts beyond the first
	FailureRate float64 // failures over failures and successes, 0 to 1
	Runtime     Distribution
	Wait        Distribution
	Exceptions  Ranking
	Workers     Ranking
	Queues      Ranking
}

// Distribution sums up a Sketch, in milliseconds. All are 0 if Count is.
//
// Percentiles are not rounded: of a few microseconds, a rounded one would be
// further than 1 % from the truth.
type Distribution struct {
	Count         uint64
	P50, P95, P99 float64
	Mean          float64
	Min, Max      float64
}

// Summarize computes the summary of a rollup, with the n most frequent of
// everything that is ranked.
func Summarize(r *Rollup, n int) Summary {
	return Summary{
		Total:       r.Total(),
		Success:     r.States[task.StateSuccess],
		Failure:     r.States[task.StateFailure],
		Revoked:     r.States[task.StateRevoked],
		Rejected:    r.States[task.StateRejected],
		GivenUp:     r.GivenUp,
		Retries:     r.Retries,
		FailureRate: r.FailureRate(),
		Runtime:     r.Runtime.Distribution(),
		Wait:        r.Wait.Distribution(),
		Exceptions:  r.Exceptions.Rank(n),
		Workers:     r.Workers.Rank(n),
		Queues:      r.Queues.Rank(n),
	}
}

// Distribution sums the sketch up.
func (s *Sketch) Distribution() Distribution {
	return Distribution{
		Count: s.count,
		P50:   s.Quantile(0.50) / 1000,
		P95:   s.Quantile(0.95) / 1000,
		P99:   s.Quantile(0.99) / 1000,
		Mean:  s.Mean() / 1000,
		Min:   float64(s.min) / 1000,
		Max:   float64(s.max) / 1000,
	}
}
