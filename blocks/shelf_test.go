package blocks

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// shelf makes day files for tests of reading.
type shelf struct {
	t   testing.TB
	dir string
	seq int
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{t: t, dir: t.TempDir()}
	for _, sub := range []string{"days", "live", "tmp"} {
		if err := os.Mkdir(filepath.Join(s.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// live makes a live file of rows, cut in batches of random sizes and in
// random order.
func (s *shelf) live(day task.Day, rows []task.Invocation, mask []string, moved []Moved) *Live {
	s.t.Helper()
	s.seq++
	l, err := CreateLive(filepath.Join(s.dir, "live"), day, s.seq)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { closeAll(s.t, l) })
	rows = slices.Clone(rows)
	r := rand.New(rand.NewPCG(uint64(len(rows)), uint64(day)))
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	cut := uint64(1)
	for first := true; first || len(rows) > 0; first = false {
		b := Batch{Cut: cut, Mask: mask, Moved: moved}
		for i := range rows[:min(len(rows), 1+r.IntN(300))] {
			b.Put = append(b.Put, Put{Inv: &rows[i]})
		}
		if err := l.Apply(context.Background(), b); err != nil {
			s.t.Fatal(err)
		}
		rows, mask, moved = rows[len(b.Put):], nil, nil
		cut++
	}
	return l
}

// sealed makes a sealed file of rows, with its filter in memory.
func (s *shelf) sealed(day task.Day, generation int, rows []task.Invocation, moved []Moved) *Sealed {
	s.t.Helper()
	return s.seal(s.live(day, rows, nil, moved), generation)
}

// seal makes a live file a sealed one.
func (s *shelf) seal(l *Live, generation int) *Sealed {
	s.t.Helper()
	day := l.Day()
	tmp, _, err := BuildSealed(context.Background(), filepath.Join(s.dir, "tmp"), SealInput{Day: day, Generation: generation, Live: l, At: time.Unix(0, 0)})
	if err != nil {
		s.t.Fatal(err)
	}
	path, err := PublishSealed(tmp, filepath.Join(s.dir, "days"), day, generation)
	if err != nil {
		s.t.Fatal(err)
	}
	f, err := OpenSealed(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { closeAll(s.t, f) })
	if err := f.LoadFilter(); err != nil {
		s.t.Fatal(err)
	}
	return f
}

// sealedBulk is sealed for many rows.
func (s *shelf) sealedBulk(day task.Day, rows []task.Invocation) *Sealed {
	s.t.Helper()
	s.seq++
	l, err := CreateLive(filepath.Join(s.dir, "live"), day, s.seq)
	if err != nil {
		s.t.Fatal(err)
	}
	b := Batch{Cut: 1}
	for i := range rows {
		b.Put = append(b.Put, Put{Inv: &rows[i]})
	}
	if err := l.Apply(context.Background(), b); err != nil {
		s.t.Fatal(err)
	}
	f := s.seal(l, 1)
	if err := l.Close(); err != nil {
		s.t.Fatal(err)
	}
	return f
}

// catalog is one generation of days, read through a pool of its own.
func (s *shelf) catalog(o PoolOptions, days ...DayFiles) *Catalog {
	pool := NewPool(o)
	s.t.Cleanup(pool.Close)
	c := NewCatalog(pool)
	c.Edit(func(m map[task.Day]DayFiles) {
		for _, d := range days {
			m[d.Day] = d
		}
	})
	return c
}

// rowAt is an invocation of a state whose row time is at.
func rowAt(id, name string, at int64, state task.State) task.Invocation {
	e := task.Event{TaskID: id, TaskName: name, At: at, State: state, Worker: "celery@w1", Queue: "q1", Args: "[" + id + "]", Retries: task.RetriesUnknown}
	if state != task.StateSuccess && state.Finished() {
		e.ExceptionType, e.ExceptionMessage = "ValueError", "no "+id
	}
	v := e.Invocation()
	if !state.Finished() {
		v.GivenUpAt = at
		v.Canonicalize()
	}
	return v
}

// randomRow is an invocation with a bit of everything, whose row time is at.
func randomRow(r *rand.Rand, id string, at int64) task.Invocation {
	pick := func(prefix string, n int) string {
		if i := r.IntN(n + 1); i > 0 {
			return fmt.Sprintf("%s%d", prefix, i)
		}
		return ""
	}
	name, worker, queue := pick("app.task", 25), pick("celery@shop-w-", 4), pick("q", 3)
	if r.IntN(40) == 0 {
		worker = "celery@" // of no group
	}
	root := []string{"", id, "root-1", "00000000-0000-4000-8000-00000000000a"}[r.IntN(4)]
	v := task.Invocation{}
	add := func(s task.State, at int64, attempt int32) {
		e := task.Event{State: s, TaskID: id, At: at, Worker: worker, TaskName: name, Queue: queue, RootID: root, Retries: attempt, Args: pick("args", 3)}
		if s == task.StateSuccess || s == task.StateFailure {
			e.HasRuntime, e.Runtime = r.IntN(4) > 0, r.Int64N(50)*1000
		}
		if s >= task.StateRetry && s <= task.StateFailure {
			e.ExceptionType, e.Traceback = pick("Error", 3), pick("Traceback ", 100)
		}
		o := e.Invocation()
		v.Merge(&o)
	}
	if r.IntN(3) > 0 {
		add(task.StateSent, at-r.Int64N(9_000_000)-10, int32(r.IntN(3)))
	}
	if r.IntN(3) > 0 {
		add(task.StateReceived, at-r.Int64N(9_000_000)-10, int32(r.IntN(3)))
	}
	if r.IntN(3) > 0 {
		add(task.StateStarted, at-r.Int64N(9_000_000)-10, task.RetriesUnknown)
	}
	switch last := task.States[r.IntN(len(task.States))]; {
	case r.IntN(2) == 0:
		add(task.StateSuccess, at, task.RetriesUnknown)
	case last.Finished():
		add(last, at, task.RetriesUnknown)
	case r.IntN(8) == 0: // still open
		add(last, at, task.RetriesUnknown)
	default:
		add(last, at-r.Int64N(1000), task.RetriesUnknown)
		v.GivenUpAt = at
		v.Canonicalize()
	}
	return v
}

// collidingIDs are n ids in groups of four whose natural keys within one
// microsecond are equal or next to each other.
func collidingIDs(t testing.TB, n int) []string {
	t.Helper()
	ids := colliding()
	if len(ids) < n {
		t.Fatalf("there are %d colliding ids, want %d", len(ids), n)
	}
	return slices.Clone(ids[:n])
}

var colliding = sync.OnceValue(func() []string {
	type hashed struct {
		slot int64
		id   string
	}
	const size = 4
	ids := make([]hashed, 1_000_000)
	for i := range ids {
		id := fmt.Sprintf("collide-%d", i)
		ids[i] = hashed{int64(task.HashID(id) >> (64 - hashBits)), id}
	}
	slices.SortFunc(ids, func(a, b hashed) int { return cmp.Compare(a.slot, b.slot) })
	var out []string
	for i := 0; i+size <= len(ids); i++ {
		if ids[i+size-1].slot-ids[i].slot < size-1 {
			for _, h := range ids[i : i+size] {
				out = append(out, h.id)
			}
			i += size - 1
		}
	}
	return out
})
