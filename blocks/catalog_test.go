package blocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/task"
)

func mustSelect(t *testing.T, v *View, s Select) []string {
	t.Helper()
	var ids []string
	if err := v.Select(context.Background(), s, func(inv *task.Invocation) (bool, error) {
		ids = append(ids, inv.TaskID)
		return true, nil
	}); err != nil {
		t.Error(err)
	}
	for _, err := range v.LeftOut() {
		t.Error(err)
	}
	return ids
}

// drained starts Drained and returns a function that tells, without waiting,
// whether it has returned, and one that waits.
func drained(t *testing.T, c *Catalog, path string) (is func() bool, wait func()) {
	ch := make(chan error, 1)
	go func() { ch <- c.Drained(context.Background(), path) }()
	done := false
	is = func() bool {
		select {
		case err := <-ch:
			if err != nil {
				t.Error(err)
			}
			done = true
		default:
		}
		return done
	}
	return is, func() {
		if !done {
			if err := <-ch; err != nil {
				t.Error(err)
			}
		}
	}
}

// A file that left the catalog stays readable for the views that name it, and
// is let go of when the last of them is released.
func TestCatalogDrained(t *testing.T) {
	sh := newShelf(t)
	row := rowAt("a", "n", testDay.Start()+1, task.StateSuccess)
	old, next := sh.sealed(testDay, 1, []task.Invocation{row}, nil), sh.sealed(testDay, 2, []task.Invocation{row}, nil)
	c := sh.catalog(PoolOptions{}, DayFiles{Day: testDay, Sealed: old})
	first, second := c.View(), c.View()
	mustSelect(t, first, Select{})
	c.Edit(func(days map[task.Day]DayFiles) { days[testDay] = DayFiles{Sealed: next} })
	is, wait := drained(t, c, old.Path())
	first.Release()
	first.Release()
	if ids := mustSelect(t, second, Select{}); len(ids) != 1 || is() {
		t.Errorf("the view sees %v, drained %v", ids, is())
	}
	if d := second.Days(); d[0].Sealed != old {
		t.Errorf("the view changed: %v", d)
	}
	second.Release()
	wait()
	if open := openFiles(t, old.Path()); len(open) > 0 {
		t.Errorf("drained and still open: %v", open)
	}

	// A session in use keeps it, also when no view does.
	s := mustAcquire(t, c.pool, attachment{next.Path(), modeImmutable})
	c.Edit(func(days map[task.Day]DayFiles) { delete(days, testDay) })
	is, wait = drained(t, c, next.Path())
	if err := os.Remove(next.Path()); err != nil || is() {
		t.Errorf("%v, drained %v", err, is())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := c.Drained(ctx, next.Path()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drained with a session in use: %v", err)
	}
	c.pool.release(s, nil)
	wait()
	if open := openFiles(t, next.Path()); len(open) > 0 {
		t.Errorf("unlinked and still open: %v", open)
	}
	if v := c.View(); len(v.Days()) != 0 {
		t.Errorf("days: %v", v.Days())
	}
}

func TestViewRows(t *testing.T) {
	sh := newShelf(t)
	rows := []task.Invocation{rowAt("a", "n", testDay.Start()+1, task.StateSuccess), rowAt("b", "n", testDay.Start()+1, task.StateSuccess)}
	sealed := DayFiles{Day: testDay, Sealed: sh.sealed(testDay, 1, rows, nil)}
	c := sh.catalog(PoolOptions{}, sealed, DayFiles{Day: testDay + 1, Live: sh.live(testDay+1, nil, nil, nil)})
	v := c.View()
	defer v.Release()
	if n, exact := v.Rows(); n != 2 || !exact {
		t.Errorf("%d rows, exact %v", n, exact)
	}
	if d := v.Days(); len(d) != 2 || d[0].Day != testDay+1 {
		t.Errorf("days: %v", d)
	}
	sealed.Live = sh.live(testDay, rows[:1], []string{"a"}, nil)
	c.Edit(func(days map[task.Day]DayFiles) { days[testDay] = sealed })
	w := c.View()
	defer w.Release()
	if n, exact := w.Rows(); n != 2 || exact {
		t.Errorf("%d rows, exact %v; want 2, estimated", n, exact)
	}
	before := c.Moves()
	if c.NoteMove(); c.Moves() == before {
		t.Error("a move was not counted")
	}
}

// Readers meet every row exactly once while all files are replaced under them
// again and again, and what was drained is gone from the disk.
func TestCatalogSwaps(t *testing.T) {
	const days, perDay, swaps = 3, 120, 12
	sh := newShelf(t)
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([][]task.Invocation, days)
	all := map[string]bool{}
	for d := range days {
		day := testDay + task.Day(d)
		for i := range perDay {
			v := randomRow(r, fmt.Sprintf("%s-%d", day, i), day.Start()+r.Int64N(50))
			rows[d] = append(rows[d], v)
			all[v.TaskID] = true
		}
	}
	generation := 0
	build := func(d int) DayFiles {
		generation++
		f := DayFiles{Day: testDay + task.Day(d)}
		switch generation % 3 {
		case 0:
			f.Sealed = sh.sealed(f.Day, generation, rows[d], nil)
		case 1:
			f.Live = sh.live(f.Day, rows[d], nil, nil)
		case 2:
			f.Sealed = sh.sealed(f.Day, generation, rows[d][:80], nil)
			var mask []string
			for _, v := range rows[d][60:80] {
				mask = append(mask, v.TaskID)
			}
			f.Live = sh.live(f.Day, rows[d][60:], mask, nil)
		}
		return f
	}
	var files []DayFiles
	for d := range days {
		files = append(files, build(d))
	}
	c := sh.catalog(PoolOptions{Conns: 3, Limit: 3}, files...)

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 3 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				v := c.View()
				ids := mustSelect(t, v, Select{Oldest: n%2 == 0, Details: i == 0})
				seen := map[string]bool{}
				for _, id := range ids {
					if seen[id] || !all[id] {
						t.Errorf("%s came twice or is not there", id)
					}
					seen[id] = true
				}
				if len(seen) != len(all) {
					t.Errorf("%d rows of %d", len(seen), len(all))
				}
				if found, err := v.Lookup(context.Background(), ids[:20]); err != nil || len(found) != 20 {
					t.Errorf("looked up %d of 20: %v", len(found), err)
				}
				v.Release()
			}
		})
	}
	for n := range swaps {
		d := n % days
		old, next := files[d], build(d)
		c.Edit(func(days map[task.Day]DayFiles) { days[next.Day] = next })
		files[d] = next
		for _, path := range old.paths() {
			if err := c.Drained(context.Background(), path); err != nil {
				t.Fatal(err)
			}
		}
		if old.Live != nil {
			if err := errors.Join(old.Live.Close(), old.Live.Remove()); err != nil {
				t.Error(err)
			}
		}
		for _, path := range old.paths() {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
			if open := openFiles(t, path); len(open) > 0 {
				t.Errorf("unlinked and still open: %v", open)
			}
		}
	}
	close(stop)
	readers.Wait()
}

// A reader of a day sees a row that moves from the sealed file to the overlay
// exactly once, whichever moment it meets.
func TestOverlayWhileWritten(t *testing.T) {
	const n = 60 // one fill
	sh := newShelf(t)
	r := rand.New(rand.NewPCG(9, 9))
	at := func() int64 { return testDay.Start() + r.Int64N(40) }
	rows := make([]task.Invocation, n)
	for i := range rows {
		rows[i] = rowAt(fmt.Sprintf("id-%d", i), "n", at(), task.StateFailure)
	}
	d := DayFiles{Day: testDay, Sealed: sh.sealed(testDay, 1, rows, nil), Live: sh.live(testDay, nil, nil, nil)}
	c := sh.catalog(PoolOptions{Conns: 2}, d)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := c.View()
				seen := map[string]bool{}
				for _, id := range mustSelect(t, v, Select{Oldest: i == 0}) {
					if seen[id] {
						t.Errorf("%s came twice", id)
					}
					seen[id] = true
				}
				if len(seen) != n {
					t.Errorf("%d rows, want %d", len(seen), n)
				}
				if found, err := v.Lookup(context.Background(), []string{"id-1", "id-2", "id-3"}); err != nil || len(found) != 3 {
					t.Errorf("found %d of 3: %v", len(found), err)
				}
				v.Release()
			}
		})
	}
	for cut := range 200 {
		i := r.IntN(n)
		rows[i] = rowAt(rows[i].TaskID, "n", at(), task.StateSuccess)
		if err := d.Live.Apply(context.Background(), Batch{Cut: uint64(cut) + 10, Put: []Put{{Inv: &rows[i], Replace: true}}, Mask: []string{rows[i].TaskID}}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
}

// Which rows another day has taken over is not remembered of a view that could not
// read the file that says so.
func TestSupersededIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	live := map[task.Day]*Live{}
	for i, d := range []task.Day{testDay - 1, testDay} {
		l, err := CreateLive(dir, d, i+1)
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll(t, l)
		e := task.Event{TaskID: "moved", TaskName: "t", State: task.StateSuccess, At: d.Start() + 1, Retries: task.RetriesUnknown}
		v := e.Invocation()
		b := Batch{Cut: uint64(i + 1), Put: []Put{{Inv: &v}}}
		if d == testDay {
			b.Moved = []Moved{{ID: "moved", From: testDay - 1}}
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		live[d] = l
	}
	pool := NewPool(PoolOptions{})
	defer pool.Close()
	c := NewCatalog(pool)
	c.Edit(func(days map[task.Day]DayFiles) {
		for d, l := range live {
			days[d] = DayFiles{Day: d, Live: l}
		}
	})
	path := live[testDay].Path()
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	v := c.View()
	if _, err := v.superseded(context.Background()); err != nil || len(v.LeftOut()) != 1 {
		t.Fatal(err, v.LeftOut())
	}
	v.Release()
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	v = c.View()
	defer v.Release()
	if got, err := v.superseded(context.Background()); err != nil || !got[testDay-1]["moved"] {
		t.Errorf("%v %v", got, err)
	}
}
