package rollup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/store"

	"daybook/tsdb/task"
)

func durations(vs []task.Invocation, f func(*task.Invocation) (int64, bool)) []int64 {
	var out []int64
	for i := range vs {
		if us, ok := f(&vs[i]); ok {
			out = append(out, us)
		}
	}
	return out
}

// distributions draw n durations in microseconds.
var distributions = map[string]func(r *rand.Rand) int64{
	"constant":  func(*rand.Rand) int64 { return 123_457 },
	"zeros":     func(*rand.Rand) int64 { return 0 },
	"lognormal": func(r *rand.Rand) int64 { return int64(math.Exp(12 + 0.8*r.NormFloat64())) },
	"wide":      func(r *rand.Rand) int64 { return int64(math.Exp(12 + 3*r.NormFloat64())) },
	"bimodal": func(r *rand.Rand) int64 {
		return []int64{1_000 + r.Int64N(200), 90_000_000 + r.Int64N(9_000_000)}[r.IntN(2)]
	},
	"micros":        func(r *rand.Rand) int64 { return r.Int64N(120) },
	"huge":          func(r *rand.Rand) int64 { return math.MaxInt64 - r.Int64N(1<<62) },
	"any":           randomMicros,
	"uniform":       func(r *rand.Rand) int64 { return r.Int64N(60_000_000) },
	"zeros and one": func(r *rand.Rand) int64 { return r.Int64N(2) },
}

// near allows for the last bits of floating point beside the 1 %.
func near(got, want float64) bool { return math.Abs(got-want) <= want*(Accuracy+1e-9) }

// checkDistribution holds a distribution against the durations it is of.
func checkDistribution(t *testing.T, d Distribution, us []int64) {
	t.Helper()
	slices.Sort(us)
	if d.Count != uint64(len(us)) {
		t.Fatalf("count %d, want %d", d.Count, len(us))
	}
	if len(us) == 0 {
		if d != (Distribution{}) {
			t.Fatalf("of nothing: %+v", d)
		}
		return
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	for _, p := range []struct{ q, got float64 }{{0.5, d.P50}, {0.95, d.P95}, {0.99, d.P99}} {
		if want := ms(us[int(p.q*float64(len(us)-1))]); !near(p.got, want) {
			t.Fatalf("p%g of %d: %v, want %v", p.q*100, len(us), p.got, want)
		}
	}
	mean := 0.0
	for _, u := range us {
		mean += ms(u) / float64(len(us))
	}
	if d.Min != ms(us[0]) || d.Max != ms(us[len(us)-1]) || math.Abs(d.Mean-mean) > 1e-9*mean {
		t.Fatalf("%+v, want min %v, mean %v, max %v", d, ms(us[0]), mean, ms(us[len(us)-1]))
	}
}

func TestPercentilesAreWithinOnePercent(t *testing.T) {
	for name, draw := range distributions {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 10, 99, 1000, 20_000} {
				r := rand.New(rand.NewPCG(uint64(n), 4))
				var s Sketch
				var us []int64
				for range n {
					v := draw(r)
					us = append(us, v)
					s.Add(v)
				}
				checkDistribution(t, s.Distribution(), us)
				for q := 0.0; q <= 1; q += 1.0 / 64 {
					if want := float64(us[int(q*float64(n-1))]); !near(s.Quantile(q), want) {
						t.Fatalf("quantile %v of %d: %v, want %v", q, n, s.Quantile(q), want)
					}
				}
			}
		})
	}
}

// TestAgainstTheLibrary: the same bins and the same answers as DDSketch with a
// store that never collapses, which is what sketches-go builds.
func TestAgainstTheLibrary(t *testing.T) {
	for name, draw := range distributions {
		r := rand.New(rand.NewPCG(7, 5))
		lib := ddsketch.NewDDSketchFromStoreProvider(scale, store.BufferedPaginatedStoreConstructor)
		var s Sketch
		for range 5000 {
			us := draw(r)
			s.Add(us)
			if err := lib.Add(float64(us)); err != nil {
				t.Fatal(err)
			}
		}
		got := map[int]float64{}
		for _, b := range s.bins {
			if b.index > 0 {
				got[int(b.index)-1] = float64(b.n)
			}
		}
		n := 0
		lib.GetPositiveValueStore().ForEach(func(index int, count float64) bool {
			if n++; got[index] != count {
				t.Errorf("%s: bin %d has %v, want %v", name, index, got[index], count)
			}
			return false
		})
		if n != len(got) {
			t.Errorf("%s: %d bins, want %d", name, len(got), n)
		}
		for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.95, 0.99, 1} {
			want, err := lib.GetValueAtQuantile(q)
			if err != nil {
				t.Fatal(err)
			}
			want = min(max(want, float64(s.Min())), float64(s.Max()))
			if got := s.Quantile(q); got != want {
				t.Errorf("%s: quantile %v is %v, want %v", name, q, got, want)
			}
		}
	}
}

// TestBinsCoverEveryDuration: no duration is outside, and none stands so close
// to the edge of its bin that another platform's logarithm, which may differ
// in the last bits, would put it elsewhere. Day files travel.
func TestBinsCoverEveryDuration(t *testing.T) {
	if indexOf(math.MaxInt64) != maxIndex || indexOf(0) != 0 || indexOf(1) != 1 {
		t.Fatal(indexOf(math.MaxInt64), indexOf(0), indexOf(1))
	}
	r := rand.New(rand.NewPCG(1, 18))
	for range 1_000_000 {
		us := randomMicros(r)
		i := indexOf(us)
		lo, hi := lowest(i), highest(i)
		if us < lo || us > hi || float64(hi) > 1.0203*float64(lo) || i > maxIndex {
			t.Fatalf("%d is in bin %d, [%d, %d]", us, i, lo, hi)
		}
	}
	const day = 24 * 60 * 60 * 1_000_000
	for i := 1; scale.LowerBound(i) < day; i++ {
		edge := scale.LowerBound(i)
		if math.Abs(edge-math.Round(edge)) < 1e-14*edge {
			t.Errorf("%v, the edge of bin %d, is too close to a whole number", edge, i+1)
		}
	}
}
