package blocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// TestIDRunsAgainstModel writes runs of all sizes, many entries of one hash
// among them, and looks every entry up, also after reading the runs again.
func TestIDRunsAgainstModel(t *testing.T) {
	t.Parallel()
	c, err := openFile(filepath.Join(t.TempDir(), "ids.db"), modeCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.script("PRAGMA main.synchronous = OFF;" + liveTables); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := rand.New(rand.NewPCG(4, 4))
	model := map[uint64][]int64{}
	x := &idIndex{merges: idMerges{whole: 3000, most: 12_000}}
	pages := map[int64][]byte{} // which nothing writes any more when ids are looked up
	page := func(id int64) ([]byte, error) {
		if p, ok := pages[id]; ok {
			return p, nil
		}
		p, err := readIDPage(ctx, c, id)
		pages[id] = slices.Clone(p)
		return p, err
	}
	for range 300 {
		entries := make([]entry, r.IntN(40)*r.IntN(40))
		for i := range entries {
			e := entry{of: r.Uint64(), key: r.Int64()}
			if r.IntN(3) == 0 {
				e.of = uint64(r.IntN(3)) << 40
			}
			entries[i] = e
			model[e.of] = append(model[e.of], e.key)
		}
		slices.SortFunc(entries, entry.compare)
		before, runs := x.top, len(x.runs)
		if x, err = x.with(ctx, c, entries); err != nil {
			t.Fatal(err)
		}
		// Half full pages at the end of each run, of parts most of all.
		if most := int64(x.merges.most/idPageEntries + len(entries)/idPageEntries + 2*idFanout); x.top-before > most {
			t.Fatalf("a cut of %d entries wrote %d pages, into %d runs", len(entries), x.top-before, runs)
		}
	}
	parts := 0
	for _, r := range x.runs {
		if r.level >= idPartLevel {
			parts++
		}
	}
	if parts < idFanout {
		t.Errorf("%d parts", parts)
	}
	again, err := loadIDs(ctx, c, func(uint64) {})
	if err != nil {
		t.Fatal(err)
	}
	again.merges = x.merges
	if !reflect.DeepEqual(x, again) {
		t.Fatalf("read again: %d runs to page %d, were %d to page %d", len(again.runs), again.top, len(x.runs), x.top)
	}
	fences, err := readFences(ctx, c, "main")
	if err != nil {
		t.Fatal(err)
	}
	model[r.Uint64()] = nil
	for hash, want := range model {
		var got []int64
		if err := x.find(page, hash, func(key int64) (bool, error) { got = append(got, key); return false, nil }); err != nil {
			t.Fatal(err)
		}
		if hash%16 == 0 {
			var attached []int64
			if err := fences.find(page, hash, func(key int64) (bool, error) { attached = append(attached, key); return false, nil }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, attached) {
				t.Fatalf("hash %x: keys %d, in an attached file %d", hash, got, attached)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(slices.Compact(got), slices.Compact(want)) {
			t.Fatalf("hash %x: %d keys, want %d", hash, len(got), len(want))
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

// TestIDRunsProbed counts the runs that have to be looked into for an id, after
// as many cuts as a busy day has, and what the merges behind them wrote.
func TestIDRunsProbed(t *testing.T) {
	t.Parallel()
	c, err := openFile(filepath.Join(t.TempDir(), "ids.db"), modeCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, closer(c.close))
	if err := c.script("PRAGMA main.synchronous = OFF;" + liveTables); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	const cuts, rows = 600, 1000
	x := &idIndex{merges: idMerges{whole: 4 * rows, most: 20 * rows}}
	for range cuts {
		entries := make([]entry, rows)
		for i := range entries {
			entries[i] = entry{of: r.Uint64(), key: r.Int64()}
		}
		slices.SortFunc(entries, entry.compare)
		if x, err = x.with(context.Background(), c, entries); err != nil {
			t.Fatal(err)
		}
	}
	most := 0
	for range 1000 {
		hash, probed := r.Uint64(), 0
		for _, run := range x.runs {
			if run.has(hash) {
				probed++
			}
		}
		most = max(most, probed)
	}
	if most < 3 || most > 3*idFanout {
		t.Errorf("%d of %d runs are looked into", most, len(x.runs))
	}
	// Each entry once in its cut and once in each of two levels, in pages that are
	// half full at the end of a part.
	if full := cuts * rows / idPageEntries; int(x.top) > 5*full {
		t.Errorf("%d pages were written for %d", x.top, full)
	}
}

// The cuts of a live file merge its runs, of ids and of names, also when it was opened
// again in between.
func TestLiveMergesRuns(t *testing.T) {
	t.Parallel()
	dir := liveDir(t)
	l := createLive(t, dir, 1)
	defer func() { closeAll(t, l) }()
	for cut := range uint64(2*idFanout + 2) {
		if cut == idFanout/2 {
			path := l.Path()
			closeAll(t, l)
			var err error
			if l, err = OpenLive(path); err != nil {
				t.Fatal(err)
			}
		}
		v := rowAt(fmt.Sprint("id-", cut), "t", testDay.Start()+int64(cut), task.StateSuccess)
		if err := l.Apply(context.Background(), Batch{Cut: cut + 1, Put: []Put{{Inv: &v}}}); err != nil {
			t.Fatal(err)
		}
	}
	indexes := *l.indexes.Load()
	ids := indexes[len(indexes)-1]
	w, err := l.takeWriter(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	names := len(w.names.runs)
	l.writer <- w
	if len(ids.runs) != 4 || names != 4 || ids.merges != boundedIDMerges {
		t.Errorf("%d runs of ids and %d of names, want 2 merged ones and 2 of the last cuts; merges %+v", len(ids.runs), names, ids.merges)
	}
}

// A run whose hashes do not ascend makes the file unreadable: its ids would not be
// found, and be taken for new ones.
func TestIDRunOutOfOrder(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"last entry", "in the middle"} {
		l := createLive(t, liveDir(t), 1)
		var b Batch
		for i := range 3 * idPageEntries {
			v := rowAt(fmt.Sprint("id-", i), "t", testDay.Start()+int64(i), task.StateSuccess)
			b.Cut, b.Put = 1, append(b.Put, Put{Inv: &v})
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		path := l.Path()
		closeAll(t, l)
		c, err := openFile(path, modeWrite)
		if err != nil {
			t.Fatal(err)
		}
		spoil := "UPDATE id_page SET data = CAST(substr(data, 1, length(data) - 16) || zeroblob(16) AS BLOB) WHERE id = 3"
		if what == "in the middle" {
			spoil = "UPDATE id_page SET data = CAST(zeroblob(16) || substr(data, 17) AS BLOB) WHERE id = 2"
		}
		if err := errors.Join(c.exec(spoil), c.close()); err != nil {
			t.Fatal(err)
		}
		if l, err := OpenLive(path); err == nil {
			closeAll(t, l)
			t.Errorf("%s: it is opened", what)
		} else if !errors.Is(err, errRow) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
