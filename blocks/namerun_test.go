package blocks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// TestNameRunsAgainstModel writes runs of all sizes, with names that are in
// many pages and names that are once, takes some of them back, and walks over
// ranges of times in both directions, also after reading the runs again.
func TestNameRunsAgainstModel(t *testing.T) {
	t.Parallel()
	c, err := openFile(filepath.Join(t.TempDir(), "names.db"), modeCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, closer(c.close))
	if err := c.script("PRAGMA main.synchronous = OFF;" + nameTables); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := rand.New(rand.NewPCG(5, 5))
	model := map[int64][]int64{}
	w := &nameWriter{}
	for cut := range 300 {
		entries := make([]nameEntry, r.IntN(60)*r.IntN(60))
		from := r.Int64N(dayTicks)
		for i := range entries {
			name, at := r.Int64N(3), min(from+r.Int64N(1<<r.IntN(27)), dayTicks-1)
			switch r.IntN(50) {
			case 0, 1, 2, 3, 4, 5:
				name = r.Int64N(1 << r.IntN(9))
			case 6:
				name = nameTop - 1 + r.Int64N(3) // beyond nameTop they are found together
			case 7: // once more
				if old := model[0]; len(old) > 0 {
					name, at = 0, old[r.IntN(len(old))]
				}
			}
			entries[i] = entryOf(name, at)
		}
		failed := cut%7 == 3
		err := c.transaction(func() error {
			if err := w.cut(ctx, c, slices.Clone(entries)); err != nil || !failed {
				return err
			}
			return errStop
		})
		if failed {
			w.rollback()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		w.commit()
		for _, e := range entries {
			model[e.name()] = append(model[e.name()], e.tick())
		}
	}
	again, err := loadNameWriter(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.runs, w.runs) || again.nextPage() != w.nextPage() {
		t.Fatalf("read again: %+v, were %+v", again.runs, w.runs)
	}
	if n := len(w.runs); n > 3*nameFanout {
		t.Errorf("%d runs", n)
	}
	model[1<<20] = nil
	for name, times := range model {
		slices.Sort(times)
		times = slices.Compact(times)
		for n := range 8 {
			low, high := int64(0), int64(dayTicks)
			switch {
			case n > 3 && len(times) > 0: // at entries themselves
				low = times[r.IntN(len(times))]
				high = times[r.IntN(len(times))] + int64(n%2)
			case n > 1:
				low, high = r.Int64N(dayTicks), r.Int64N(dayTicks)
			}
			var want []int64
			for _, at := range times {
				if at >= low && at < high {
					want = append(want, at)
				}
			}
			if n%2 == 0 {
				slices.Reverse(want)
			}
			if got := timesOf(t, c, name, low, high, n%2 == 1); !slices.Equal(got, want) {
				t.Fatalf("name %d from %d to %d: %d times, want %d", name, low, high, len(got), len(want))
			}
		}
	}
}

func timesOf(t *testing.T, c *conn, name, low, high int64, oldest bool) (got []int64) {
	t.Helper()
	w, err := openNameTimes(context.Background(), c, "main", name, low, high, oldest)
	if err != nil {
		t.Fatal(err)
	}
	for {
		at, ok, err := w.next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return got
		}
		got = append(got, at)
	}
}

// No merge of names has more pages than are meant; what is too large for one
// stays, and keeps nothing else from being merged.
func TestNameRunsDue(t *testing.T) {
	t.Parallel()
	of := func(level int64, pages ...int64) (runs []nameRun) {
		for _, n := range pages {
			runs = append(runs, nameRun{level: level, pages: n})
		}
		return runs
	}
	many := func(n int, pages int64) []int64 { return slices.Repeat([]int64{pages}, n) }
	for what, c := range map[string]struct {
		runs, want []nameRun
	}{
		"none":                    {},
		"not full":                {runs: of(0, many(15, 1)...)},
		"full":                    {of(0, many(17, 1)...), of(0, many(16, 1)...)},
		"the lowest":              {slices.Concat(of(2, many(16, 2)...), of(1, many(16, 1)...), of(0, many(15, 1)...)), of(1, many(16, 1)...)},
		"as far as they fit":      {of(1, many(16, nameMergePages/3)...), of(1, many(3, nameMergePages/3)...)},
		"two do not fit":          {runs: of(3, many(20, nameMergePages/2+1)...)},
		"the next level instead":  {slices.Concat(of(1, many(16, nameMergePages)...), of(2, many(16, 5)...)), of(2, many(16, 5)...)},
		"small ones behind large": {of(1, slices.Concat(many(9, nameMergePages), many(9, 4))...), of(1, many(9, 4)...)},
	} {
		for i := range c.runs {
			c.runs[i].run = int64(i)
		}
		got := slices.Clone((&nameWriter{runs: c.runs}).due())
		for i := range got {
			got[i].run = 0
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}

// A run or a page of names that is not there, or is damaged, does not hide a
// row: the file is left out and named, or verify says it.
func TestMissingNames(t *testing.T) {
	const n = 6000
	rows := make([]task.Invocation, n)
	for i := range rows {
		rows[i] = rowAt(fmt.Sprint("id-", i), fmt.Sprint("t", i%3), testDay.Start()+int64(i)*1_000_000, task.StateSuccess)
	}
	for what, c := range map[string]struct{ statement, finding string }{
		"nothing":   {"SELECT 1", ""},
		"a page":    {"DELETE FROM name_page WHERE id = 2", "page 2 of the names: it is missing"},
		"bytes":     {"UPDATE name_page SET data = CAST(substr(data, 1, 100) || x'00' AS BLOB) WHERE id = 2", "page of names"},
		"order":     {"UPDATE name_page SET data = (SELECT data FROM name_page WHERE id = 1) WHERE id = 2", "not in order"},
		"a run":     {"DELETE FROM name_run", "pages of names"},
		"all":       {"DELETE FROM name_run; DELETE FROM name_page", "pages of names"},
		"the table": {"DROP TABLE name_run", "as another one"},
		"its times": {"UPDATE name_run SET low = low + 5000", "times from"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sh := newShelf(t)
			f := sh.sealedBulk(testDay, rows)
			damage(t, f.Path(), c.statement)
			findings, err := CheckFile(context.Background(), f.Path(), false)
			if err != nil {
				t.Fatal(err)
			}
			told := c.finding == ""
			for _, found := range findings {
				if c.finding == "" && !strings.Contains(found.Problem, "sha256") {
					t.Error(found.Problem)
				}
				told = told || strings.Contains(found.Problem, c.finding)
			}
			if !told {
				t.Errorf("verify does not say that %q: %+v", c.finding, findings)
			}
			v := sh.catalog(PoolOptions{}, DayFiles{Day: testDay, Sealed: f}).View()
			defer v.Release()
			found := 0
			if err := v.Select(context.Background(), Select{Filter: &task.Filter{TaskNames: []string{"t1"}}}, func(*task.Invocation) (bool, error) {
				found++
				return true, nil
			}); err != nil {
				t.Fatal(err)
			}
			switch what {
			case "order", "a run", "all", "its times": // what no query can see, and verify tells
			default:
				if found != n/3 && len(v.Unreadable()) == 0 {
					t.Errorf("%d rows, and nothing is said to be unreadable", found)
				}
			}
		})
	}
}

// What is not of the format gives an error, whatever the bytes.
func FuzzNamePage(f *testing.F) {
	var page []byte
	last := nameEntry(0)
	for i := range int64(50) {
		e := entryOf(i/7, 1000+i*i*i)
		page = appendName(page, last, e)
		last = e
	}
	f.Add(page)
	f.Add([]byte{})
	f.Add(page[:20])
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := appendNames(nil, data)
		if err != nil {
			return
		}
		var again []byte
		last := nameEntry(0)
		for i, e := range entries {
			if i > 0 && e <= last || e.tick() >= dayTicks {
				t.Fatalf("%d behind %d", e, last)
			}
			again = appendName(again, last, e)
			last = e
		}
		if back, err := appendNames(nil, again); err != nil || !slices.Equal(back, entries) {
			t.Fatalf("written again: %d entries, %v; %d were read", len(back), err, len(entries))
		}
	})
}

// A damaged page in a live file does not stop cuts: queries by name tell of it,
// and sealing mends it.
func TestCutsGoOnBehindADamagedNamePage(t *testing.T) {
	ctx := context.Background()
	sh := newShelf(t)
	l := sh.live(testDay, nil, nil, nil)
	for cut := range 40 {
		row := rowAt(fmt.Sprint("id-", cut), "t", testDay.Start()+int64(cut)*1_000_000, task.StateSuccess)
		if err := l.Apply(ctx, Batch{Cut: uint64(100 + cut), Put: []Put{{Inv: &row}}}); err != nil {
			t.Fatal(err)
		}
		if cut == 7 {
			w := <-l.writer
			err := w.c.script("UPDATE name_page SET data = x'01' WHERE id = (SELECT max(id) FROM name_page)")
			l.writer <- w
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	byName := func(d DayFiles) (rows int, unreadable []string) {
		v := sh.catalog(PoolOptions{}, d).View()
		defer v.Release()
		if err := v.Select(ctx, Select{Filter: &task.Filter{TaskNames: []string{"t"}}}, func(*task.Invocation) (bool, error) { rows++; return true, nil }); err != nil {
			t.Fatal(err)
		}
		return rows, v.Unreadable()
	}
	if _, left := byName(DayFiles{Day: testDay, Live: l}); !slices.Equal(left, []string{l.Name()}) {
		t.Errorf("unreadable: %q", left)
	}
	findings, err := CheckFile(ctx, l.Path(), true)
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0].Remedy, "sealed") {
		t.Error(findings, err)
	}
	s := sh.seal(l, 1)
	if rows, left := byName(DayFiles{Day: testDay, Sealed: s}); rows != 40 || len(left) > 0 {
		t.Errorf("sealed: %d rows, unreadable %q", rows, left)
	}
}

// A damaged page keeps its runs from being merged, not the others, nor a cut.
func TestDamagedNameRunIsLeft(t *testing.T) {
	t.Parallel()
	c, err := openFile(filepath.Join(t.TempDir(), "names.db"), modeCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, closer(c.close))
	if err := c.script("PRAGMA main.synchronous = OFF;" + nameTables); err != nil {
		t.Fatal(err)
	}
	w, ctx := &nameWriter{}, context.Background()
	cut := func(n int) {
		t.Helper()
		for range n {
			if err := w.cut(ctx, c, []nameEntry{entryOf(1, int64(len(w.runs)))}); err != nil {
				t.Fatal(err)
			}
			w.commit()
		}
	}
	cut(3)
	if err := c.exec("UPDATE name_page SET data = x'00' WHERE id = 2"); err != nil {
		t.Fatal(err)
	}
	cut(nameFanout - 3) // the merge of these is not possible
	if len(w.runs) != nameFanout || len(w.apart) != nameFanout {
		t.Fatalf("%d runs, %d apart", len(w.runs), len(w.apart))
	}
	cut(3 * nameFanout)
	if len(w.runs) != nameFanout+3 {
		t.Errorf("%d runs: others are not merged", len(w.runs))
	}
}
