package blocks

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
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
	x := &idIndex{}
	page := func(id int64) ([]byte, error) { return readIDPage(ctx, c, id) }
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
		if x, err = x.with(ctx, c, entries); err != nil {
			t.Fatal(err)
		}
	}
	again, err := loadIDs(ctx, c, func(uint64) {})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(x, again) {
		t.Fatalf("read again: %d runs to page %d, were %d to page %d", len(again.runs), again.top, len(x.runs), x.top)
	}
	if len(x.runs) > 3*idFanout {
		t.Errorf("%d runs", len(x.runs))
	}
	model[r.Uint64()] = nil
	for hash, want := range model {
		var got []int64
		if err := x.find(page, hash, func(key int64) (bool, error) { got = append(got, key); return false, nil }); err != nil {
			t.Fatal(err)
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
