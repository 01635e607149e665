package blocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// library is a directory of days in every arrangement, and what is to be
// seen of it.
type library struct {
	days  []DayFiles
	shown []task.Invocation // in ascending order
	times []int64           // row times that many share
}

// newLibrary spreads random rows over days that are live, sealed, or sealed
// under an overlay, with rows that were replaced, moved and hidden.
func newLibrary(s *shelf, r *rand.Rand, days, rows int) *library {
	return newLibraryOf(s, r, days, rows, randomRow)
}

// newLibraryOf is newLibrary of other rows.
func newLibraryOf(s *shelf, r *rand.Rand, days, rows int, randomRow func(r *rand.Rand, id string, at int64) task.Invocation) *library {
	lib := &library{}
	collide := collidingIDs(s.t, 40)
	stored := make([]struct{ sealed, live []task.Invocation }, days)
	masks, movedTo := make([][]string, days), make([][]Moved, days)
	at := func(d int) int64 {
		day := testDay + task.Day(d)
		if r.IntN(2) == 0 {
			return lib.times[d*4+r.IntN(4)]
		}
		return day.Start() + r.Int64N(86_400_000_000)
	}
	for d := range days {
		start := (testDay + task.Day(d)).Start()
		lib.times = append(lib.times, start, start+86_399_999_999, start+r.Int64N(86_400_000_000), start+r.Int64N(86_400_000_000))
	}
	kind := func(d int) int { return d % 4 } // sealed, overlay, live, sealed with an empty overlay
	for i := range rows {
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), i)
		switch {
		case i < len(collide):
			id = collide[i]
		case i%5 == 0:
			id = fmt.Sprintf("task-%d", i)
		case i%16 == 1:
			id = strings.ToUpper(id)
		case i%16 == 2:
			id = strings.ReplaceAll(id, "-", "")
		}
		d := r.IntN(days)
		v := randomRow(r, id, at(d))
		if i < len(collide) {
			d = 1
			v = randomRow(r, id, lib.times[4])
		}
		lib.shown = append(lib.shown, v)
		old := func(d int) task.Invocation { return randomRow(r, id, at(d)) }
		switch kind(d) {
		case 0, 3:
			stored[d].sealed = append(stored[d].sealed, v)
		case 1:
			switch r.IntN(4) {
			case 0, 1:
				stored[d].sealed = append(stored[d].sealed, v)
			case 2:
				stored[d].live = append(stored[d].live, v)
			case 3: // replaced, with or without a mask
				stored[d].live = append(stored[d].live, v)
				stored[d].sealed = append(stored[d].sealed, old(d))
				if r.IntN(2) == 0 {
					masks[d] = append(masks[d], id)
				}
			}
		case 2:
			stored[d].live = append(stored[d].live, v)
		}
		if e := r.IntN(days); e != d && r.IntN(6) == 0 { // it was in another day before
			switch kind(e) {
			case 1:
				stored[e].sealed = append(stored[e].sealed, old(e))
				masks[e] = append(masks[e], id)
			case 0, 3: // a copied day, or an interrupted move: only the mark tells
				stored[e].sealed = append(stored[e].sealed, old(e))
				movedTo[d] = append(movedTo[d], Moved{ID: id, From: testDay + task.Day(e)})
			}
		}
	}
	for d, rows := range stored {
		f := DayFiles{Day: testDay + task.Day(d)}
		switch kind(d) {
		case 0:
			f.Sealed = s.sealed(f.Day, 1, rows.sealed, movedTo[d])
		case 1:
			f.Sealed = s.sealed(f.Day, 1, rows.sealed, nil)
			f.Live = s.live(f.Day, rows.live, masks[d], movedTo[d])
		case 2:
			f.Live = s.live(f.Day, rows.live, nil, movedTo[d])
		case 3:
			f.Sealed = s.sealed(f.Day, 1, rows.sealed, movedTo[d])
			f.Live = s.live(f.Day, nil, nil, nil)
		}
		if f.Sealed != nil && d%3 == 0 {
			f.Sealed.DropFilter() // look-ups ask the stored one
		}
		lib.days = append(lib.days, f)
	}
	slices.SortFunc(lib.shown, func(a, b task.Invocation) int { return a.Key().Compare(b.Key()) })
	return lib
}

// randomFilter asks for something that rows have.
func (lib *library) randomFilter(r *rand.Rand) task.Filter {
	var f task.Filter
	some := func() *task.Invocation { return &lib.shown[r.IntN(len(lib.shown))] }
	for range 1 + r.IntN(3) {
		switch r.IntN(14) {
		case 0:
			for range 1 + r.IntN(3) {
				f.TaskNames = append(f.TaskNames, some().TaskName)
			}
		case 1:
			f.TaskNames = append(f.TaskNames, []string{"app.task1*", "app*", "*", "nobody*"}[r.IntN(4)])
		case 2:
			for range 1 + r.IntN(3) {
				f.States = append(f.States, some().State)
			}
		case 3:
			f.States = append(f.States, task.StateFailure)
		case 4:
			for range 1 + r.IntN(2) {
				f.Workers = append(f.Workers, some().Worker)
			}
		case 5:
			f.Queues = append(f.Queues, some().Queue, "nowhere")
		case 6:
			f.WorkerGroup = task.WorkerGroup(some().Worker)
		case 7:
			f.ExceptionType = some().Outcome.ExceptionType
		case 8:
			f.RootID = some().RootID
		case 9:
			f.From, f.To = lib.someTime(r), lib.someTime(r)
			if f.From > f.To {
				f.From, f.To = f.To, f.From
			}
		case 10:
			f.HasMinRuntime, f.MinRuntime = true, r.Int64N(50)*1000
		case 11:
			f.HasMaxRuntime, f.MaxRuntime = true, r.Int64N(50)*1000
		case 12:
			f.MinRetries = int32(r.IntN(3))
		case 13:
			f.Open = r.IntN(2) == 0
			f.OpenBefore = lib.someTime(r)
		}
	}
	return f
}

func (lib *library) someTime(r *rand.Rand) int64 {
	return lib.shown[r.IntN(len(lib.shown))].RowTime() + int64(r.IntN(2))
}

// want is what a Select has to give.
func (lib *library) want(s *Select) []task.Invocation {
	var out []task.Invocation
	for _, v := range lib.shown {
		if s.Filter.Match(&v) && (s.Text == nil || s.Text.Match(&v)) {
			out = append(out, v)
		}
	}
	if !s.Oldest {
		slices.Reverse(out)
	}
	return out
}

// walkPages selects page by page, as a client with a cursor does.
func walkPages(t *testing.T, c *Catalog, s Select, page int) []string {
	t.Helper()
	var out []string
	for {
		v := c.View()
		n := 0
		s.Limit = page
		err := v.Select(context.Background(), s, func(inv *task.Invocation) (bool, error) {
			n++
			key := inv.Key()
			s.After = &key
			out = append(out, string(task.AppendJSON(nil, inv)))
			return true, nil
		})
		if err == nil && len(v.Unreadable()) > 0 {
			err = fmt.Errorf("%v", v.LeftOut())
		}
		v.Release()
		if err != nil {
			t.Fatalf("%+v: %v", s.Filter, err)
		}
		if page == 0 || n < page {
			return out
		}
	}
}

// One filter, two evaluators: what Select finds in files is what Match finds
// in a slice, in the same order, whatever the pages.
// rounds is how often a random test goes round; less often in short runs.
func rounds(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

func TestSelectAgainstMatch(t *testing.T) {
	for name, o := range map[string]PoolOptions{"run-time limit": {Conns: 2}, "limit 2": {Conns: 2, Limit: 2}} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, uint64(o.Limit)))
			lib := newLibrary(newShelf(t), r, 9, 1500)
			c := (&shelf{t: t}).catalog(o, lib.days...)
			for i := range rounds(120) {
				f := lib.randomFilter(r)
				if i == 0 {
					f = task.Filter{}
				}
				s := Select{Filter: &f, Oldest: r.IntN(2) == 0, Details: r.IntN(2) == 0}
				want := lib.want(&s)
				page := []int{0, 1 + len(want)/3, 7, 100}[r.IntN(4)]
				if len(want)/max(page, 1) > 40 {
					page = 100
				}
				checkRows(t, &s, page, walkPages(t, c, s, page), want)
			}
		})
	}
}

func checkRows(t *testing.T, s *Select, page int, got []string, want []task.Invocation) {
	t.Helper()
	for i := range want {
		if !s.Details {
			want[i].Args, want[i].Kwargs = "", ""
			want[i].Outcome.Result, want[i].Outcome.ExceptionMessage, want[i].Outcome.Traceback = "", "", ""
		}
		if w := string(task.AppendJSON(nil, &want[i])); i >= len(got) || got[i] != w {
			g := "nothing"
			if i < len(got) {
				g = got[i]
			}
			t.Fatalf("%+v oldest=%v pages of %d: row %d of %d (got %d) is\n%s\nwant\n%s", *s.Filter, s.Oldest, page, i, len(want), len(got), g, w)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%+v oldest=%v pages of %d: %d rows, want %d; the first beyond is\n%s", *s.Filter, s.Oldest, page, len(got), len(want), got[len(want)])
	}
}

// Thousands of rows of one microsecond, with ids whose keys collide, come in
// order and each once in pages of any size, also in an index on the name.
func TestSelectOneMicrosecond(t *testing.T) {
	sh := newShelf(t)
	at := testDay.Start() + 3_600_000_000
	ids := collidingIDs(t, 200)
	for i := range 3000 {
		ids = append(ids, fmt.Sprintf("same-%d", i))
	}
	var rows []task.Invocation
	for i, id := range ids {
		rows = append(rows, rowAt(id, fmt.Sprintf("app.task%d", i%3), at, task.States[4+i%4]))
	}
	for i := range 300 { // some microseconds with few rows of a name beside it
		rows = append(rows, rowAt(fmt.Sprintf("near-%d", i), fmt.Sprintf("app.task%d", i%3), at+int64(i%12)-6, task.States[4+i%4]))
	}
	lib := &library{shown: slices.Clone(rows)}
	slices.SortFunc(lib.shown, func(a, b task.Invocation) int { return a.Key().Compare(b.Key()) })
	for name, d := range map[string]DayFiles{
		"live":    {Day: testDay, Live: sh.live(testDay, rows, nil, nil)},
		"sealed":  {Day: testDay, Sealed: sh.sealed(testDay, 1, rows, nil)},
		"overlay": {Day: testDay, Sealed: sh.sealed(testDay, 2, rows[:2000], nil), Live: sh.live(testDay, rows[1900:], nil, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			c := (&shelf{t: t}).catalog(PoolOptions{Conns: 1}, d)
			for _, f := range []task.Filter{{}, {TaskNames: []string{"app.task1"}}, {TaskNames: []string{"app.task0", "app.task2"}}, {TaskNames: []string{"app.task1", "app.task2"}, States: []task.State{task.StateFailure, task.StateRevoked}}} {
				for _, oldest := range []bool{false, true} {
					for _, page := range []int{0, 13, 999} {
						s := Select{Filter: &f, Oldest: oldest}
						checkRows(t, &s, page, walkPages(t, c, s, page), lib.want(&s))
					}
				}
			}
		})
	}
}

// A walk by name that lets go of its transaction many times within a microsecond
// looks at its rows once, and not again in every fill.
func TestNameWalkOfOneMicrosecond(t *testing.T) {
	const n = 5000
	sh := newShelf(t)
	at := testDay.Start() + 3_600_000_000
	var rows []task.Invocation
	for i := range n {
		rows = append(rows, rowAt(fmt.Sprintf("same-%d", i), "app.task", at, task.StateSuccess))
	}
	c := sh.catalog(PoolOptions{}, DayFiles{Day: testDay, Sealed: sh.sealed(testDay, 1, rows, nil)})
	c.effort = 100
	q, err := text.Parse("task")
	if err != nil {
		t.Fatal(err)
	}
	for _, oldest := range []bool{false, true} {
		for _, q := range []*text.Query{nil, q} {
			looks := 0
			v := c.View()
			s := Select{Filter: &task.Filter{TaskNames: []string{"app.task"}}, Text: q, Oldest: oldest, Skip: func(string, uint64) bool { looks++; return true }}
			err := v.Select(context.Background(), s, func(*task.Invocation) (bool, error) { return true, nil })
			v.Release()
			if err != nil || looks < n || looks > 2*n {
				t.Errorf("oldest %v, text %v: %d looks at %d rows, %v", oldest, q != nil, looks, n, err)
			}
		}
	}
}

// Rows that are written and replaced in a live file keep their order: the keys
// behind a deleted one close up.
func TestSelectAfterReplace(t *testing.T) {
	sh := newShelf(t)
	at := testDay.Start() + 1000
	ids := collidingIDs(t, 60)
	rows := make([]task.Invocation, len(ids))
	for i, id := range ids {
		rows[i] = rowAt(id, "app.task", at, task.StateSuccess)
	}
	l := sh.live(testDay, rows, nil, nil)
	c := sh.catalog(PoolOptions{}, DayFiles{Day: testDay, Live: l})
	r := rand.New(rand.NewPCG(5, 5))
	for i := range 60 {
		j := r.IntN(len(rows))
		rows[j] = rowAt(ids[j], "app.task", at+int64(r.IntN(2)), task.StateFailure)
		if err := l.Apply(context.Background(), Batch{Cut: uint64(1000 + i), Put: []Put{{Inv: &rows[j], Replace: true}}}); err != nil {
			t.Fatal(err)
		}
		lib := &library{shown: slices.Clone(rows)}
		slices.SortFunc(lib.shown, func(a, b task.Invocation) int { return a.Key().Compare(b.Key()) })
		s := Select{Filter: &task.Filter{}, Oldest: i%2 == 0}
		checkRows(t, &s, 5, walkPages(t, c, s, 5), lib.want(&s))
	}
}

func TestSelectSkipAndStop(t *testing.T) {
	lib := newLibrary(newShelf(t), rand.New(rand.NewPCG(1, 1)), 3, 600)
	v := (&shelf{t: t}).catalog(PoolOptions{}, lib.days...).View()
	defer v.Release()
	n := 0
	err := v.Select(context.Background(), Select{Skip: func(id string, hash uint64) bool {
		if hash != task.HashID(id) {
			t.Errorf("the hash of %q is wrong", id)
		}
		return hash%2 == 0
	}}, func(inv *task.Invocation) (bool, error) {
		if n++; task.HashID(inv.TaskID)%2 == 0 {
			t.Errorf("%q was to be skipped", inv.TaskID)
		}
		return n < 150, nil
	})
	if err != nil || n != 150 {
		t.Errorf("%d rows, %v; want 150", n, err)
	}
	stop := errors.New("stop")
	if err := v.Select(context.Background(), Select{}, func(*task.Invocation) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := v.Select(ctx, Select{}, func(*task.Invocation) (bool, error) { return true, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if names := v.Unreadable(); len(names) > 0 {
		t.Errorf("%v counts as unreadable because a reader gave up", names)
	}
}

func TestLookup(t *testing.T) {
	for _, limit := range []int{0, 2} {
		r := rand.New(rand.NewPCG(3, 3))
		lib := newLibrary(newShelf(t), r, 9, 900)
		v := (&shelf{t: t}).catalog(PoolOptions{Limit: limit}, lib.days...).View()
		ids := []string{"nobody", "nobody"}
		want := map[string]task.Invocation{}
		for _, inv := range lib.shown {
			ids = append(ids, inv.TaskID)
			want[inv.TaskID] = inv
		}
		found, err := v.Lookup(context.Background(), ids)
		if err != nil || len(found) != len(want) {
			t.Fatalf("found %d of %d: %v %v", len(found), len(want), err, v.LeftOut())
		}
		for id, s := range found {
			w := want[id]
			if !slices.Contains(s.Where, w.Day()) {
				t.Errorf("%q was found in %v, not in %s", id, s.Where, w.Day())
			}
			if len(s.Where) == 1 && string(task.AppendJSON(nil, &s.Invocation)) != string(task.AppendJSON(nil, &w)) && !isMerged(lib, id) {
				t.Errorf("%q is\n%s\nwant\n%s", id, task.AppendJSON(nil, &s.Invocation), task.AppendJSON(nil, &w))
			}
		}
		for range 50 {
			w := lib.shown[r.IntN(len(lib.shown))]
			if isMerged(lib, w.TaskID) || len(found[w.TaskID].Where) > 1 {
				continue
			}
			s := Select{Filter: &task.Filter{TaskID: w.TaskID}, Details: true}
			var got []string
			if err := v.Select(context.Background(), s, func(inv *task.Invocation) (bool, error) {
				got = append(got, string(task.AppendJSON(nil, inv)))
				return true, nil
			}); err != nil {
				t.Fatal(err)
			}
			checkRows(t, &s, 0, got, []task.Invocation{w})
		}
		v.Release()
	}
}

// isMerged reports whether a sealed row of the id lies under an overlay's row
// without being masked: a look-up merges the two.
func isMerged(lib *library, id string) bool {
	for _, d := range lib.days {
		if d.Sealed != nil && d.Live != nil {
			if _, ok, _ := d.Live.Find(context.Background(), id); ok {
				return true
			}
		}
	}
	return false
}

// A file that is damaged, gone or not a database is left out and named; the
// rest answers.
func TestSelectDamaged(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"gone":    os.Remove,
		"garbage": func(path string) error { return overwrite(path, 0, 1<<20) },
		"pages":   func(path string) error { return overwrite(path, 8192, 1<<20) },
		"cut off": func(path string) error { return errors.Join(os.Chmod(path, 0o644), os.Truncate(path, 20_000)) },
	} {
		t.Run(name, func(t *testing.T) {
			lib := newLibrary(newShelf(t), rand.New(rand.NewPCG(1, 1)), 5, 800)
			bad := lib.days[4] // sealed only
			if err := harm(bad.Sealed.Path()); err != nil {
				t.Fatal(err)
			}
			v := (&shelf{t: t}).catalog(PoolOptions{Conns: 2}, lib.days...).View()
			defer v.Release()
			got := map[string]bool{}
			if err := v.Select(context.Background(), Select{Details: true}, func(inv *task.Invocation) (bool, error) {
				got[inv.TaskID] = true
				return true, nil
			}); err != nil {
				t.Fatal(err)
			}
			for _, inv := range lib.shown {
				if inv.Day() != bad.Day && !got[inv.TaskID] && !movedTo(bad, inv.TaskID) {
					t.Errorf("%s of %s is missing", inv.TaskID, inv.Day())
				}
			}
			if names := v.Unreadable(); !slices.Equal(names, []string{bad.Sealed.Name()}) {
				t.Errorf("unreadable: %v", names)
			}
			if _, err := v.Lookup(context.Background(), []string{"x"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A damaged overlay does not take the sealed day with it.
func TestSelectDamagedOverlay(t *testing.T) {
	sh := newShelf(t)
	rows := []task.Invocation{rowAt("a", "n", testDay.Start()+1, task.StateSuccess), rowAt("b", "n", testDay.Start()+2, task.StateSuccess)}
	l := sh.live(testDay, rows[:1], []string{"a"}, nil)
	d := DayFiles{Day: testDay, Sealed: sh.sealed(testDay, 1, rows, nil), Live: l}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := overwrite(l.Path(), 8192, 1<<20); err != nil {
		t.Fatal(err)
	}
	v := sh.catalog(PoolOptions{}, d).View()
	defer v.Release()
	n := 0
	if err := v.Select(context.Background(), Select{}, func(*task.Invocation) (bool, error) { n++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	if names := v.Unreadable(); n != 2 || !slices.Equal(names, []string{l.Name()}) {
		t.Errorf("%d rows, unreadable %v; want 2 and the overlay", n, names)
	}
}

func movedTo(d DayFiles, id string) bool {
	return slices.ContainsFunc(d.Sealed.Moved(), func(m Moved) bool { return m.ID == id })
}

// overwrite puts nonsense over a part of a file.
func overwrite(path string, from, n int64) (err error) {
	if err := os.Chmod(path, 0o644); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = f.WriteAt(slices.Repeat([]byte{0xee}, int(max(0, min(n, fi.Size()-from)))), from)
	return err
}
