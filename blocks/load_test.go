package blocks

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// testDay is the day of generated rows.
var testDay = task.DayOf(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).UnixMicro())

// refLoad is the reference load as cuts.
type refLoad struct {
	*load.Load
	r *rand.Rand
}

func newLoad(seed uint64, day task.Day, rows int) *refLoad {
	return &refLoad{load.New(seed, day, rows), rand.New(rand.NewPCG(seed, 9))}
}

func (g *refLoad) next() *task.Invocation { return g.Next() }

// uuid is one that no row has.
func (g *refLoad) uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", g.r.Uint32(), g.r.IntN(1<<16), g.r.IntN(1<<12), g.r.IntN(1<<12), g.r.Int64N(1<<48))
}

// batch is the next n rows as a cut.
func (g *refLoad) batch(cut uint64, n int) Batch {
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
