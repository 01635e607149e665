package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// benchLine is one invocation of the kind that clients post.
func benchLine(r *rand.Rand, at int64) []byte {
	id := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
	line := fmt.Appendf(nil, `{"task_id":%q,"task_name":"shop.orders.task_%d","sent_at":%s,"received_at":%s,"started_at":%s,"finished_at":%s,"runtime_ms":40.1,"worker":"celery@w-%d","queue":"q%d","args":"(%d, 'ORD-%08d')","kwargs":"{'user': 'user%d@example.com', 'amount': %d, 'currency': 'EUR', 'note': 'standard order'}","root_id":%q`,
		id, r.IntN(120), task.AppendSeconds(nil, at-100_000), task.AppendSeconds(nil, at-50_000), task.AppendSeconds(nil, at-40_000), task.AppendSeconds(nil, at),
		r.IntN(200), r.IntN(6), r.IntN(1<<20), r.IntN(1e8), r.IntN(1e6), r.IntN(1000), id)
	return append(line, `,"result":"{'ok': True}"}`...)
}

// BenchmarkIngest is parsing and appending in requests of 500, four at a time,
// fsynced, with the loops of Run cutting meanwhile. One op is one invocation.
func BenchmarkIngest(b *testing.B) {
	o := DefaultOptions()
	o.Dir = b.TempDir()
	db := running(b, o)
	b.ReportAllocs()
	var turn atomic.Int64
	b.SetParallelism(2)
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(uint64(turn.Add(1)), 1))
		lines := make([][]byte, 500)
		for more := true; more; {
			at := time.Now().UnixMicro()
			for i := range lines {
				lines[i] = benchLine(r, at)
			}
			recs := make([]Record, 0, len(lines))
			for _, line := range lines {
				v, err := task.ParseJSON(line)
				if err != nil {
					b.Error(err)
					return
				}
				recs = append(recs, Record{Invocation: v})
				if more = pb.Next(); !more {
					break
				}
			}
			if _, err := db.Append(context.Background(), recs); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	if d := db.Health().DroppedTotal; d > 0 {
		b.Errorf("%d dropped", d)
	}
}
