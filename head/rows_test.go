package head

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// A snapshot stays what it was, whatever comes, changes and goes afterwards; in both
// directions, with the row times.
func TestRows(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(10, 1))
	type shared struct {
		rows Rows
		want []*task.Invocation
	}
	for range 20 {
		var rows Rows
		var want []*task.Invocation
		var snaps []shared
		grows := true
		for step := range 20_000 {
			if step%2500 == 0 {
				grows = r.IntN(3) > 0
			}
			if step%500 == r.IntN(500) {
				snaps = append(snaps, shared{rows.share(), slices.Clone(want)})
			}
			v := event(fmt.Sprint("id", step), task.StateSuccess, int64(step+1))
			switch n := len(want); {
			case n == 0 || grows && r.IntN(3) > 0:
				rows.push()
				rows.set(n, v)
				want = append(want, v)
			case r.IntN(3) == 0:
				slot := r.IntN(n)
				rows.set(slot, v)
				want[slot] = v
			default:
				rows.pop()
				want = want[:n-1]
			}
		}
		for i, s := range append(snaps, shared{rows, want}) {
			if !slices.Equal(s.rows.Slice(), s.want) || s.rows.Len() != len(s.want) {
				t.Fatalf("snapshot %d has others", i)
			}
			n := len(s.want)
			for at, v := range s.rows.Backward() {
				if n--; v != s.want[n] || at != v.RowTime() {
					t.Fatalf("snapshot %d, backward: another one at %d", i, n)
				}
			}
			if n != 0 {
				t.Fatalf("snapshot %d, backward: %d are missing", i, n)
			}
		}
	}
}
