package rollup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/store"

	"daybook/tsdb/task"
)

// typical is what a busy task looks like: lognormal runtimes and waits, a few
// workers and queues, two percent failures.
func typical(r *rand.Rand, n int) []task.Invocation {
	out := make([]task.Invocation, n)
	for i := range out {
		v := &out[i]
		v.TaskName = "shop.orders.tasks.send_confirmation"
		v.State = task.StateSuccess
		v.FinishedAt = 1_700_000_000_000_000 + int64(r.IntN(3_600_000_000))
		v.Worker = fmt.Sprintf("celery@app-worker-default-68c44cbdf6-2668%c", 'b'+r.IntN(20))
		v.Queue = []string{"default", "priority"}[r.IntN(2)]
		v.Outcome.HasRuntime, v.Outcome.Runtime = true, int64(math.Exp(12+0.8*r.NormFloat64()))
		v.StartedAt = v.FinishedAt - v.Outcome.Runtime
		v.SentAt = v.StartedAt - int64(math.Exp(9+1.2*r.NormFloat64()))
		if r.IntN(50) == 0 {
			v.State = task.StateFailure
			v.Outcome.ExceptionType = []string{"TimeoutError", "ConnectionError", "ValueError"}[r.IntN(3)]
		}
	}
	return out
}

var sizes = []int{10, 100, 1000, 100_000}

func BenchmarkAdd(b *testing.B) {
	vs := typical(rand.New(rand.NewPCG(1, 1)), 1<<16)
	b.Run("rollup", func(b *testing.B) {
		var r Rollup
		b.ReportAllocs()
		for i := range b.N {
			r.Add(&vs[i%len(vs)])
		}
	})
	b.Run("set of 120 tasks", func(b *testing.B) {
		for i := range vs {
			vs[i].TaskName = fmt.Sprintf("shop.orders.tasks.number%d", i%120)
		}
		s := NewSet(Hour, DefaultLimits)
		b.ReportAllocs()
		for i := range b.N {
			s.Add(&vs[i%len(vs)])
		}
	})
}

// BenchmarkCut is what a cut of 100 000 rows pays: minutes, and hours made of
// them, encoded.
func BenchmarkCut(b *testing.B) {
	vs := typical(rand.New(rand.NewPCG(1, 1)), 100_000)
	for i := range vs {
		vs[i].TaskName = fmt.Sprintf("shop.orders.tasks.number%d", i%120)
		vs[i].FinishedAt = 1_700_000_000_000_000 + int64(i)*200 // 20 s
	}
	var buf []byte
	for b.Loop() {
		minutes, hours := NewSet(Minute, DefaultLimits), NewSet(Hour, DefaultLimits)
		for i := range vs {
			minutes.Add(&vs[i])
		}
		for k, r := range minutes.All() {
			buf = r.AppendBinary(buf[:0])
			hours.Merge(k.Name, k.Bucket, r)
		}
		for _, r := range hours.All() {
			buf = r.AppendBinary(buf[:0])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(vs)), "ns/row")
}

func BenchmarkMergeSketch(b *testing.B) {
	for _, n := range sizes {
		r := rand.New(rand.NewPCG(1, 1))
		part, all := of(typical(r, n)), of(typical(r, 10*n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				all.Runtime.Merge(&part.Runtime)
			}
		})
	}
}

// BenchmarkMergeLibrary is the same with the stores of sketches-go.
func BenchmarkMergeLibrary(b *testing.B) {
	for name, p := range map[string]store.Provider{"paginated": store.BufferedPaginatedStoreConstructor, "dense": store.DenseStoreConstructor, "sparse": store.SparseStoreConstructor} {
		for _, n := range sizes {
			r := rand.New(rand.NewPCG(1, 1))
			part, all := ddsketch.NewDDSketchFromStoreProvider(scale, p), ddsketch.NewDDSketchFromStoreProvider(scale, p)
			for i, v := range typical(r, 11*n) {
				s := all
				if i < n {
					s = part
				}
				if err := s.Add(float64(v.Outcome.Runtime)); err != nil {
					b.Fatal(err)
				}
			}
			var buf []byte
			part.Encode(&buf, true)
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if err := all.MergeWith(part); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(buf)), "bytes")
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range sizes {
		part := of(typical(rand.New(rand.NewPCG(1, 1)), n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var buf []byte
			for b.Loop() {
				buf = part.AppendBinary(buf[:0])
			}
			b.ReportMetric(float64(len(buf)), "bytes")
			b.ReportMetric(float64(len(part.Runtime.append(nil))), "runtime-bytes")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range sizes {
		buf := of(typical(rand.New(rand.NewPCG(1, 1)), n)).AppendBinary(nil)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var d Decoder
			var r Rollup
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(&r, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSummary is the answer to /tasks over 30 days, from the bytes that
// day files hold to percentiles and rankings of 120 tasks.
func BenchmarkSummary(b *testing.B) {
	for _, c := range []struct {
		name    string
		buckets int
		rows    int
	}{{"30 daily of 20000", 30, 20_000}, {"720 hourly of 1000", 720, 1000}} {
		r := rand.New(rand.NewPCG(1, 1))
		var encoded [][]byte
		size := 0
		for range 40 {
			encoded = append(encoded, of(typical(r, c.rows)).AppendBinary(nil))
			size += len(encoded[len(encoded)-1])
		}
		names := make([]string, 120)
		for i := range names {
			names[i] = fmt.Sprintf("shop.orders.tasks.number%d", i)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := NewSet(Forever, DefaultLimits)
				for i := range c.buckets {
					for j, name := range names {
						if err := s.MergeBinary(name, 0, encoded[(i+j)%len(encoded)]); err != nil {
							b.Fatal(err)
						}
					}
				}
				for _, r := range s.All() {
					Summarize(r, 10)
				}
			}
			b.ReportMetric(float64(size)/40, "bytes/rollup")
		})
	}
}

// BenchmarkSeries is one task's hourly series over 30 days, from bytes.
func BenchmarkSeries(b *testing.B) {
	buf := of(typical(rand.New(rand.NewPCG(1, 1)), 1000)).AppendBinary(nil)
	from := Day.Start(1_700_000_000_000_000)
	for b.Loop() {
		s, err := NewSeries(from, from+30*Day.Micros(), Hour)
		if err != nil {
			b.Fatal(err)
		}
		var d Decoder
		var r Rollup
		for i := range int64(720) {
			if err := d.Decode(&r, buf); err != nil {
				b.Fatal(err)
			}
			s.Merge(from+i*Hour.Micros(), &r)
		}
		s.Points()
	}
}
