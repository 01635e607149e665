package text

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"daybook/tsdb/task"
)

// load generates texts, less varied than those of package tsdb/load: 120 task
// names by Zipf, 200 workers, 5 % failures with tracebacks of 1 to 2 KB that
// share most of their words.
type load struct {
	r    *rand.Rand
	zipf *rand.Zipf
}

func newLoad(seed uint64) *load {
	r := rand.New(rand.NewPCG(seed, 7))
	return &load{r: r, zipf: rand.NewZipf(r, 1.2, 4, 119)}
}

func (g *load) id() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(g.r.Uint32())
	}
	return task.UnpackID(b[:])
}

func (g *load) next() task.Invocation {
	n := g.zipf.Uint64()
	v := task.Invocation{TaskID: g.id(), TaskName: fmt.Sprintf("shop.module_%d.tasks.task_%d", n%11, n), State: task.StateSuccess,
		Worker: fmt.Sprintf("celery@shop-worker-%d", g.r.IntN(200)),
		Args:   fmt.Sprintf("(%d, 'ORD-%08d')", g.r.IntN(10_000), g.r.IntN(100_000_000)),
		Kwargs: fmt.Sprintf("{'user': 'user%d@example.com', 'amount': %d, 'currency': 'EUR'}", g.r.IntN(50_000), g.r.IntN(500))}
	v.Outcome.Result = "None"
	if g.r.IntN(3) == 0 {
		v.Outcome.Result = fmt.Sprintf("{'status': 'ok', 'id': %d}", g.r.IntN(1_000_000))
	}
	if g.r.IntN(20) == 0 {
		v.State, v.Outcome.Result = task.StateFailure, ""
		v.Outcome.ExceptionType = []string{"ConnectionError", "TimeoutError", "KeyError", "ValueError"}[g.r.IntN(4)]
		v.Outcome.ExceptionMessage = fmt.Sprintf("could not reach db-%d.internal:5432", g.r.IntN(100))
		v.Outcome.Traceback = g.traceback(v.Outcome.ExceptionType + ": " + v.Outcome.ExceptionMessage)
	}
	return v
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

func (g *load) rows(n int) []task.Invocation {
	rows := make([]task.Invocation, n)
	for i := range rows {
		rows[i] = g.next()
	}
	return rows
}
