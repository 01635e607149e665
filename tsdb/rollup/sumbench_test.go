package rollup

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"daybook/tsdb/task"
)

// BenchmarkSum is what a cut pays to add the minutes of many tasks to their hours: a
// Sum adds up one task after the other, and each brings some workers that the Sum has
// not met yet.
func BenchmarkSum(b *testing.B) {
	for _, c := range []struct{ workers, tasks, minutes, rows int }{
		{200, 120, 20, 40}, {5000, 120, 20, 40}, {5000, 1300, 4, 12}, {20_000, 1300, 4, 12},
	} {
		r := rand.New(rand.NewPCG(1, 1))
		parts := make([][]byte, c.tasks*c.minutes)
		for i := range parts {
			var part Rollup
			for range c.rows {
				part.States[task.StateSuccess]++
				part.Runtime.Add(int64(r.IntN(200_000)))
				part.Workers.Add(fmt.Sprintf("app-worker-default-%d.example.com", r.IntN(c.workers)))
				part.Queues.Add("default")
			}
			parts[i] = part.AppendBinary(nil)
		}
		b.Run(fmt.Sprintf("%d workers, %d tasks", c.workers, c.tasks), func(b *testing.B) {
			var s Sum
			var buf []byte
			for b.Loop() {
				for i, part := range parts {
					if err := s.AddBinary(part); err != nil {
						b.Fatal(err)
					}
					if (i+1)%c.minutes == 0 {
						buf = s.Take(buf[:0])
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.tasks), "ns/hour")
		})
	}
}
