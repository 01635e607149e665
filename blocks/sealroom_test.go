package blocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"daybook/tsdb/task"
)

// What is said to be needed for a seal is enough, whatever the rows are, and not
// much more than the live file.
func TestSealRoom(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 1))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('!' + r.IntN(90))
		}
		return string(b)
	}
	for _, c := range []struct {
		name   string
		rows   int
		change func(v *task.Invocation)
	}{
		{"one row", 1, nil},
		{"few rows", 500, nil},
		{"the reference load", 5_000, nil},
		{"no details", 5_000, func(v *task.Invocation) { v.Args, v.Kwargs, v.Outcome = "", "", task.Outcome{} }},
		{"failures", 2_000, func(v *task.Invocation) {
			v.State = task.StateFailure
			v.Transitions[len(v.Transitions)-1].State = task.StateFailure
		}},
		{"many names", 1_000, func(v *task.Invocation) { v.TaskName = noise(20) }},
		{"details that do not compress", 1_000, func(v *task.Invocation) { v.Outcome.Result = noise(1000) }},
		{"large details", 20, func(v *task.Invocation) { v.Outcome.Result = noise(60_000) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newLoad(1, testDay, c.rows)
			l := createLive(t, liveDir(t), 1)
			b := g.batch(1, c.rows)
			for _, p := range b.Put {
				if c.change != nil {
					c.change(p.Inv)
				}
				if p.Inv.Day() != testDay { // it ends after midnight
					p.Inv.FinishedAt, p.Inv.UpdatedAt = testDay.End()-1, testDay.End()-1
					p.Inv.Transitions[len(p.Inv.Transitions)-1].At = p.Inv.FinishedAt
					p.Inv.Canonicalize()
				}
			}
			if err := l.Apply(ctx, b); err != nil {
				t.Fatal(err)
			}
			var old *Sealed
			days := t.TempDir()
			for generation := 1; generation <= 2; generation++ { // of the same rows: they are hidden
				need, err := SealRoom(ctx, l, old)
				if err != nil {
					t.Fatal(err)
				}
				s := seal(t, days, SealInput{Generation: generation, Live: l, Sealed: old})
				fi, err := os.Stat(s.Path())
				if err != nil {
					t.Fatal(err)
				}
				if most := 2*fi.Size() + 2*sealSlack; need < fi.Size() || generation == 1 && need > most {
					t.Errorf("generation %d has %d bytes, %d were said to be needed", generation, fi.Size(), need)
				}
				defer closeAll(t, s)
				old = s
			}
			closeAll(t, l)
			if _, err := SealRoom(ctx, l, nil); !errors.Is(err, ErrFileClosed) {
				t.Error(fmt.Sprint("of a file that is closed: ", err))
			}
		})
	}
}
