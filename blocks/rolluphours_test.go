package blocks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// storedHours sums what a live file says of some hours, gone ones taken out.
func storedHours(t *testing.T, c *Catalog, from, to int64, name string) map[rollup.Key]rollup.Rollup {
	t.Helper()
	v := c.View()
	defer v.Release()
	added, gone := rollup.NewSet(rollup.Hour, rollup.DefaultLimits), rollup.NewSet(rollup.Hour, rollup.DefaultLimits)
	_, err := v.Rollups(context.Background(), RollupQuery{From: from, To: to, Width: rollup.Hour, Name: name}, func(p RollupPart) error {
		if p.At != rollup.Hour.Start(p.At) {
			t.Errorf("a part of %d", p.At)
		}
		if p.Gone {
			return gone.MergeBinary(p.Name, p.At, p.Data)
		}
		return added.MergeBinary(p.Name, p.At, p.Data)
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[rollup.Key]rollup.Rollup{}
	for k, r := range added.All() {
		sum := r.Clone()
		if g := gone.Get(k.Name, k.Bucket); g != nil {
			if err := sum.Subtract(g); err != nil {
				t.Fatal(k, err)
			}
		}
		if !sum.Empty() {
			out[k] = sum
		}
	}
	return out
}

// Hours are those of the rows after every cut, whatever of them is pending: cuts
// in order and far behind, rows that leave, clocks hours ahead, cuts that fail, and
// files that are closed and opened again.
func TestHoursAreThoseOfTheRows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			testHours(t, rand.New(rand.NewPCG(seed, 5)))
		})
	}
}

func testHours(t *testing.T, r *rand.Rand) {
	sh := newShelf(t)
	l := sh.live(testDay, nil, nil, nil)
	ctx := context.Background()
	now, clock := map[string]task.Invocation{}, testDay.Start()
	moved, last := 0, int64(0)
	for cut := uint64(2); cut < 60; cut++ {
		b := Batch{Cut: cut}
		for i := range 1 + r.IntN(40) {
			at := clock + r.Int64N(600_000_000)
			if r.IntN(30) == 0 {
				at = testDay.Start() + r.Int64N(86_400_000_000)
			}
			v := randomRow(r, fmt.Sprintf("%d-%d", cut, i), at)
			b.Put = append(b.Put, Put{Inv: &v})
		}
		clock = min(clock+r.Int64N(3_000_000_000), testDay.End()-600_000_001)
		for id := range now {
			if r.IntN(40) == 0 {
				b.Delete = append(b.Delete, id)
			}
		}
		failing, stop := context.WithCancel(ctx)
		if r.IntN(6) == 0 {
			stop()
		}
		if err := l.Apply(failing, b); err == nil {
			for _, p := range b.Put {
				now[p.Inv.TaskID] = *p.Inv
			}
			for _, id := range b.Delete {
				delete(now, id)
			}
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stop()
		if r.IntN(10) == 0 {
			closeAll(t, l)
			var err error
			if l, err = OpenLive(l.Path()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeAll(t, l) })
		}
		if to := l.state.Load().hours.to; to != last {
			moved, last = moved+1, to
		}
		rows := rollup.NewSet(rollup.Hour, rollup.DefaultLimits)
		from := rollup.Hour.Start(testDay.Start() + r.Int64N(86_400_000_000))
		to := from + (1+r.Int64N(24))*rollup.Hour.Micros()
		if cut%2 == 0 {
			from, to = testDay.Start(), testDay.End()
		}
		name := ""
		for _, v := range now {
			if name = v.TaskName; name != "" && cut%3 == 0 {
				break
			}
			name = ""
		}
		for _, v := range now {
			if at := v.RowTime(); at >= from && at < to && (name == "" || v.TaskName == name) {
				rows.Add(&v)
			}
		}
		got := storedHours(t, sh.catalog(PoolOptions{}, DayFiles{Day: testDay, Live: l}), from, to, name)
		want := maps.Collect(rows.All())
		for k, sum := range got {
			if want[k] == nil || !sum.Agrees(want[k]) {
				t.Fatalf("cut %d, %v: %+v", cut, k, sum.Counts)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("cut %d: %d hours of names, want %d", cut, len(got), len(want))
		}
	}
	requireSound(t, l.Path())
	if moved < 5 {
		t.Errorf("hours were completed %d times", moved)
	}
}
