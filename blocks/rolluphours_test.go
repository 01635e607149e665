package blocks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
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
	moved, last, looks := 0, int64(0), 20
	for cut := uint64(2); cut < 60; cut++ {
		b := Batch{Cut: cut}
		for i := range 1 + r.IntN(40) {
			at := clock + r.Int64N(600_000_000)
			if r.IntN(30) == 0 {
				at = testDay.Start() + r.Int64N(86_400_000_000)
			}
			v := randomRow(r, fmt.Sprintf("%d-%d", cut, i), at)
			if r.IntN(2) == 0 {
				v.Worker = fmt.Sprint("celery@host", r.IntN(1000)) // new ones, also in cuts that fail
			}
			b.Put = append(b.Put, Put{Inv: &v})
		}
		clock = min(clock+r.Int64N(3_000_000_000), testDay.End()-600_000_001)
		for id := range now {
			if cut%2 == 0 && r.IntN(30) == 0 {
				b.Delete = append(b.Delete, id)
			}
		}
		breaking := &endingContext{ctx, math.MaxInt}
		if r.IntN(3) == 0 { // anywhere, also in the rollups; what comes next is another batch
			breaking.left = r.IntN(2 * looks)
		}
		had := breaking.left
		if err := l.Apply(breaking, b); err == nil {
			looks = max(looks, had-breaking.left)
			for _, p := range b.Put {
				now[p.Inv.TaskID] = *p.Inv
			}
			for _, id := range b.Delete {
				delete(now, id)
			}
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
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
	if moved < 2 { // of some ten; what is drawn depends on the order of maps
		t.Errorf("hours were completed %d times", moved)
	}
}

// What is pending is bounded, whatever comes: rows over a whole day, and batches in
// which rows only leave.
func TestPendingIsBounded(t *testing.T) {
	t.Parallel()
	sh := newShelf(t)
	l := sh.live(testDay, nil, nil, nil)
	var ids []string
	apply := func(b Batch) {
		t.Helper()
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		n, err := countRollups(l.Path(), l.state.Load().hours.to)
		if err != nil || n > maxPending+2000 {
			t.Fatalf("%d pending: %v", n, err)
		}
	}
	for cut := range uint64(10) {
		b := Batch{Cut: cut + 2}
		for i := range 1500 {
			at := testDay.Start() + (int64(i)*97+int64(cut)*7)%1440*60_000_000
			v := rowAt(fmt.Sprintf("%d-%d", cut, i), fmt.Sprint("task", i%10), at, task.StateSuccess)
			b.Put, ids = append(b.Put, Put{Inv: &v}), append(ids, v.TaskID)
		}
		apply(b)
	}
	for cut := range uint64(10) {
		apply(Batch{Cut: cut + 20, Delete: ids[1500*cut : 1500*(cut+1)]})
	}
	requireSound(t, l.Path())
}

func countRollups(path string, from int64) (n int64, err error) {
	c, err := openFile(path, modeRead)
	if err != nil {
		return 0, err
	}
	n, err = pendingFrom(context.Background(), c, from)
	return n, errors.Join(err, c.close())
}

// A rollup that is damaged keeps no rows out: it is found, and sealing the day
// makes it again.
func TestDamagedRollupsStopNothing(t *testing.T) {
	t.Parallel()
	sh := newShelf(t)
	rows := loadRows(5, 3000)
	l := sh.live(testDay, rows[:2000], nil, nil)
	path := l.Path()
	closeAll(t, l)
	damage(t, path, "UPDATE rollup SET data = x'0907' WHERE start / 60000000 % 3 = 0")
	var err error
	if l, err = OpenLive(path); err != nil {
		t.Fatal(err)
	}
	defer func() { closeAll(t, l) }()
	for i := 2000; i < 3000; i += 100 {
		b := Batch{Cut: uint64(5000 + i)}
		for j := i; j < i+100; j++ {
			b.Put = append(b.Put, Put{Inv: &rows[j]})
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	if found := problems(t, path); len(found) == 0 || l.Rows() != 3000 {
		t.Errorf("%d rows, findings: %+v", l.Rows(), found)
	}
	requireSound(t, sh.seal(l, 1).Path())
}

// hours_to says which minutes hours lack: any other value is found.
func TestCheckFindsWrongHoursTo(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"value + 3600000000", "value - 3600000000", "value + 1", "'noon'", "value - 864000000000"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			sh := newShelf(t)
			l := sh.live(testDay, loadRows(8, 2000), nil, nil)
			path := l.Path()
			if at := l.state.Load().hours.to; at < testDay.Start()+3_600_000_000 || at > testDay.End()-7_200_000_000 {
				t.Fatal(at)
			}
			closeAll(t, l)
			damage(t, path, "UPDATE meta SET value = "+to+" WHERE key = 'hours_to'")
			if found := problems(t, path); len(found) == 0 {
				t.Error("not found")
			}
		})
	}
}
