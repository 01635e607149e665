// Package load generates the reference load, which benchmarks and `daybook
// bench` measure with: what a busy Celery installation sends. It is
// deterministic: the same seed gives the same invocations.
//
// 120 task names with a Zipf spread, 200 workers, 6 queues, random UUIDs, args
// and kwargs of about 150 bytes together, 5 % failures with tracebacks of 1 to
// 2 KB. Rows are given as invocations (Load), or as NDJSON the way a client
// posts them (Lines). Nothing but benchmarks and tests has a use for it.
package load

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"daybook/tsdb/task"
)

// dayMicros is a day in microseconds.
const dayMicros = 86_400_000_000

// Load generates invocations in the order in which they ended.
type Load struct {
	r    *rand.Rand
	zipf *rand.Zipf
	now  int64
	step int64 // microseconds between rows
}

// New begins at the start of a day over which rows are spread.
func New(seed uint64, day task.Day, rows int) *Load {
	r := rand.New(rand.NewPCG(seed, 7))
	return &Load{r: r, zipf: rand.NewZipf(r, 1.2, 4, 119), now: day.Start(), step: dayMicros / int64(rows+1)}
}

// id is a random UUID.
func id(r *rand.Rand) [16]byte {
	var b [16]byte
	hi, lo := r.Uint64(), r.Uint64()
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	b[6], b[8] = b[6]&15|0x40, b[8]&63|0x80
	return b
}

// TaskName is the name of task n, of 120; 0 is the most frequent.
func TaskName(n int) string { return fmt.Sprintf("shop.module_%d.tasks.task_%d", n%11, n) }

// Next is the next invocation.
func (g *Load) Next() *task.Invocation {
	g.now += g.step/2 + g.r.Int64N(g.step)
	return g.at(g.now)
}

// at is an invocation that ended then.
func (g *Load) at(end int64) *task.Invocation {
	n := int(g.zipf.Uint64())
	raw := id(g.r)
	id := task.UnpackID(raw[:])
	run := int64(2000 + g.r.ExpFloat64()*80_000)
	v := &task.Invocation{
		TaskID: id, RootID: id, TaskName: TaskName(n), Queue: fmt.Sprintf("queue-%d", n%6),
		Args:   fmt.Sprintf("(%d, '%s@example.com', %d)", g.r.IntN(1_000_000), g.word(), g.r.IntN(500)),
		Kwargs: fmt.Sprintf("{'order_id': %d, 'customer': '%s', 'amount': %d.%02d, 'currency': 'EUR', 'trace': '%08x'}", g.r.IntN(10_000_000), g.word(), g.r.IntN(900), g.r.IntN(100), g.r.Uint32()),
	}
	worker := fmt.Sprintf("celery@shop-worker-%d", g.r.IntN(200))
	v.StartedAt = end - run
	v.ReceivedAt = v.StartedAt - g.r.Int64N(40_000)
	v.SentAt = v.ReceivedAt - 800 - g.r.Int64N(5_000)
	v.UpdatedAt = end
	o := task.Outcome{State: task.StateSuccess, At: end, HasRuntime: true, Runtime: run, Result: "None"}
	if g.r.IntN(20) == 0 {
		o = task.Outcome{State: task.StateFailure, At: end, HasRuntime: true, Runtime: run, ExceptionType: []string{"ConnectionError", "TimeoutError", "KeyError", "ValueError"}[g.r.IntN(4)]}
		o.ExceptionMessage = "could not reach " + g.word() + ".internal:5432"
		o.Traceback = g.traceback(o.ExceptionType + ": " + o.ExceptionMessage)
	}
	v.Outcome = o
	v.Transitions = []task.Transition{
		{At: v.SentAt, State: task.StateSent}, {At: v.ReceivedAt, State: task.StateReceived, Worker: worker},
		{At: v.StartedAt, State: task.StateStarted, Worker: worker, Retries: task.RetriesUnknown},
		{At: end, State: o.State, Worker: worker, Retries: task.RetriesUnknown, ExceptionType: o.ExceptionType},
	}
	v.Limit()
	return v
}

const syllables = "bacadafagahajakalamanapaqarasatavawaxayazabecedefegehe"

func (g *Load) word() string {
	var b strings.Builder
	for range 3 + g.r.IntN(3) {
		i := g.r.IntN(len(syllables)/2) * 2
		b.WriteString(syllables[i : i+2])
	}
	return b.String()
}

func (g *Load) traceback(last string) string {
	var b strings.Builder
	b.WriteString("Traceback (most recent call last):\n")
	for range 8 + g.r.IntN(8) {
		f := g.r.IntN(40)
		fmt.Fprintf(&b, "  File \"/usr/lib/python3/dist-packages/shop/module_%d.py\", line %d, in handle_%d\n    return self.call_%d(request, retry=%d)\n", f, f*17+g.r.IntN(9), f, f, g.r.IntN(3))
	}
	b.WriteString(last)
	return b.String()
}
