package blocks

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// testDay is the day of generated rows.
var testDay = task.DayOf(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).UnixMicro())

// load generates what a busy Celery installation sends: 120 task names by
// Zipf, 200 workers, 6 queues, 5 % failures with tracebacks of 1 to 2 KB.
type load struct {
	r    *rand.Rand
	zipf *rand.Zipf
	now  int64
	step int64 // microseconds between rows
}

func newLoad(seed uint64, day task.Day, rows int) *load {
	r := rand.New(rand.NewPCG(seed, 7))
	return &load{r: r, zipf: rand.NewZipf(r, 1.2, 4, 119), now: day.Start(), step: 86_400_000_000 / int64(rows+1)}
}

func (g *load) uuid() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(g.r.Uint32())
	}
	b[6], b[8] = b[6]&15|0x40, b[8]&63|0x80
	return task.UnpackID(b[:])
}

func (g *load) next() *task.Invocation {
	g.now += g.step/2 + g.r.Int64N(g.step)
	n := g.zipf.Uint64()
	id := g.uuid()
	run := int64(2000 + g.r.ExpFloat64()*80_000)
	v := &task.Invocation{
		TaskID: id, RootID: id, TaskName: fmt.Sprintf("shop.module_%d.tasks.task_%d", n%11, n), Queue: fmt.Sprintf("queue-%d", n%6),
		Args:   fmt.Sprintf("(%d, '%s@example.com', %d)", g.r.IntN(1_000_000), g.word(), g.r.IntN(500)),
		Kwargs: fmt.Sprintf("{'order_id': %d, 'customer': '%s', 'amount': %d.%02d, 'currency': 'EUR', 'trace': '%08x'}", g.r.IntN(10_000_000), g.word(), g.r.IntN(900), g.r.IntN(100), g.r.Uint32()),
	}
	worker := fmt.Sprintf("celery@shop-worker-%d", g.r.IntN(200))
	end := g.now
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

func (g *load) word() string {
	var b strings.Builder
	for range 3 + g.r.IntN(3) {
		i := g.r.IntN(len(syllables)/2) * 2
		b.WriteString(syllables[i : i+2])
	}
	return b.String()
}

func (g *load) traceback(last string) string {
	var b strings.Builder
	b.WriteString("Traceback (most recent call last):\n")
	for range 8 + g.r.IntN(8) {
		f := g.r.IntN(40)
		fmt.Fprintf(&b, "  File \"/usr/lib/python3/dist-packages/shop/module_%d.py\", line %d, in handle_%d\n    return self.call_%d(request, retry=%d)\n", f, f*17+g.r.IntN(9), f, f, g.r.IntN(3))
	}
	b.WriteString(last)
	return b.String()
}

// batch is the next n rows as a cut.
func (g *load) batch(cut uint64, n int) Batch {
	b := Batch{Cut: cut, Put: make([]Put, n)}
	for i := range b.Put {
		b.Put[i].Inv = g.next()
	}
	return b
}

func closeAll(t testing.TB, cs ...interface{ Close() error }) {
	t.Helper()
	for _, c := range cs {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
