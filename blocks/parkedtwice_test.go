package blocks

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// inBoth is a file with rows of which some are elsewhere, too.
func inBoth(t *testing.T, rows, both int) (m *parkedRows, elsewhere []*task.Invocation) {
	t.Helper()
	p, err := CreateParked(liveDir(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	m = &parkedRows{t: t, r: rand.New(rand.NewPCG(5, 6)), p: p, rows: map[string]task.Invocation{}}
	var invs []*task.Invocation
	for i := range rows {
		e := task.Event{TaskID: fmt.Sprint("both", i), TaskName: m.name(), At: 3_600_000_000 + m.r.Int64N(6*3_600_000_000), State: task.StateStarted}
		v := e.Invocation()
		invs = append(invs, &v)
		m.rows[v.TaskID] = v
		if i < both {
			elsewhere = append(elsewhere, &task.Invocation{TaskID: v.TaskID})
		}
	}
	m.cut++
	if err := p.Put(t.Context(), m.cut, invs); err != nil {
		t.Fatal(err)
	}
	if err := p.Count(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, elsewhere
}

// asks are the ways to ask for all that is parked, and how many it is without what is
// elsewhere.
func (m *parkedRows) asks(elsewhere []*task.Invocation) map[string]func() int64 {
	all := []ParkedRange{{0, task.MaxMicros}}
	check := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	return map[string]func() int64{
		"open": func() (n int64) {
			check(m.p.Open(m.t.Context(), "", elsewhere, func(_ string, more int64) { n += more }))
			return n
		},
		"counted": func() (n int64) {
			_, err := m.p.Counted(m.t.Context(), elsewhere, func(_ string, c *rollup.Counts) { n += int64(c.States[task.StateStarted]) })
			check(err)
			return n
		},
		"sum": func() (n int64) {
			open := int64(0)
			check(m.p.Sum(m.t.Context(), ParkedSum{Within: all, Elsewhere: elsewhere, Row: func(*task.Invocation) { n++ },
				Rollup: func(_ string, _ int64, r *rollup.Rollup) { n += int64(r.Total()) },
				Open:   func(_ string, more int64) { open += more }}))
			if open != n {
				m.t.Errorf("%d are open, of %d in the sum", open, n)
			}
			return n
		},
	}
}

// What is parked and also elsewhere is read in batches, once for a sum and what is open,
// and others get the connection between them.
func TestParkedInBothIsReadInBatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rows, both, batches int }{
		{3000, 513, 3},  // looked up
		{3000, 1500, 4}, // all are read; the last batch is the end
		{3000, 0, 0},
	} {
		m, elsewhere := inBoth(t, c.rows, c.both)
		for name, ask := range m.asks(elsewhere) {
			before, given := m.p.batches, 0
			m.p.between = func() {
				given++
				if err := m.p.with(t.Context(), func(*conn) error { return nil }); err != nil {
					t.Error(err)
				}
			}
			if n := ask(); n != int64(c.rows-c.both) {
				t.Errorf("%s: %d, want %d", name, n, c.rows-c.both)
			}
			if n := int(m.p.batches - before); n != c.batches || given != max(n-1, 0) {
				t.Errorf("%s of %d in both: %d batches, want %d; the connection was given back %d times", name, c.both, n, c.batches, given)
			}
		}
		closeAll(t, m.p)
	}
}

// What comes and goes between two batches is counted once or not at all, as it is
// when the last has been read.
func TestParkedInBothChangesBetweenBatches(t *testing.T) {
	t.Parallel()
	for _, both := range []int{513, 2500} {
		m, elsewhere := inBoth(t, 3000, both)
		next := 0
		for name, ask := range m.asks(elsewhere) {
			for range 3 {
				once := true
				m.p.between = func() {
					if !once {
						return
					}
					once = false
					// Some go that are elsewhere, whether they have been read or not.
					var gone []string
					for ; len(gone) < 50; next++ {
						gone = append(gone, elsewhere[next].TaskID)
						delete(m.rows, elsewhere[next].TaskID)
					}
					if err := m.p.Delete(t.Context(), gone); err != nil {
						t.Error(err)
					}
					m.put(nil) // and others come
				}
				n := ask()
				want := int64(len(m.rows) - (both - next))
				if name == "counted" { // those of put have other states
					want = 0
					known := idsOf(elsewhere)
					for id, v := range m.rows {
						if !known[id] && v.State == task.StateStarted {
							want++
						}
					}
				}
				if n != want || once {
					t.Errorf("%s, %d in both: %d, want %d", name, both, n, want)
				}
			}
		}
		closeAll(t, m.p)
	}
}

// A damage among what is also elsewhere hides its row only.
func TestParkedInBothOfADamagedFile(t *testing.T) {
	t.Parallel()
	for _, both := range []int{513, 2500} {
		m, elsewhere := inBoth(t, 3000, both)
		if err := m.p.with(t.Context(), func(c *conn) error {
			return c.exec("UPDATE parked SET data = x'00' WHERE id = ?", elsewhere[100].TaskID)
		}); err != nil {
			t.Fatal(err)
		}
		// It had been counted, and cannot be taken out any more.
		if n := m.asks(elsewhere)["open"](); n != int64(3000-both+1) || m.p.Damage() == nil {
			t.Errorf("%d are open, want %d; damage: %v", n, 3000-both+1, m.p.Damage())
		}
		closeAll(t, m.p)
	}
}
