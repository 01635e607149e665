package tsdb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// What pick finds without looking at most rows is what sorting all of them finds:
// in both orders, behind any cursor, in any range, with many rows of one time.
func TestPick(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 1))
	short := 0
	for range 400 {
		var invs []*task.Invocation
		spread := 1 + r.Int64N(2000)
		for i := range r.IntN(1500) {
			v := finished(fmt.Sprint("id", i), noon).Invocation
			v.FinishedAt = 1_000_000 + r.Int64N(spread)
			if r.IntN(2) == 0 { // as they came
				v.FinishedAt = 1_000_000 + int64(i)
			}
			v.Queue = fmt.Sprint(r.IntN(4))
			invs = append(invs, &v)
		}
		q := Query{Filter: task.Filter{Queues: []string{"1", "2"}[:r.IntN(3)]}, Oldest: r.IntN(2) == 0}
		at := func() int64 { return 1_000_000 + r.Int64N(spread+1) - 1 }
		if r.IntN(2) == 0 {
			q.From = at()
		}
		if r.IntN(2) == 0 {
			q.To = at()
		}
		if n := len(invs); n > 0 && r.IntN(2) == 0 {
			k := invs[r.IntN(n)].Key()
			q.After = &k
		}
		all := func(yield func(int64, *task.Invocation) bool) {
			for _, v := range invs {
				if !yield(v.RowTime(), v) {
					return
				}
			}
		}
		hint := r.IntN(120)
		var want []*task.Invocation
		for _, v := range invs {
			if q.Match(v) && (q.After == nil || follows(v.Key(), *q.After, q.Oldest)) {
				want = append(want, v)
			}
		}
		sortRows(want, q.Oldest)
		if hint > 0 && len(want) > hint {
			want = want[:hint]
			short++
		}
		if got := pick(all, &q, hint); !slices.Equal(got, want) {
			t.Fatalf("%d rows instead of %d, hint %d, %+v", len(got), len(want), hint, q)
		}
	}
	if short == 0 {
		t.Fatal("there was never more than was asked for")
	}
}
