package blocks

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"testing"

	"daybook/tsdb/task"
)

// Rollups that are read for many names at once are those of each name, in whatever
// order names are asked for; and more than one name comes at once.
func TestRollupsByName(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, err := CreateLive(t.TempDir(), testDay, 1)
	if err != nil {
		t.Fatal(err)
	}
	const names = 40
	for cut := range 3 {
		b := Batch{Cut: uint64(cut + 1)}
		for i := range 200 {
			v := rowAt(fmt.Sprint(cut, "-", i), fmt.Sprint("t", i%names), testDay.Start()+int64(i*cut)*40_000_000, task.StateSuccess)
			b.Put = append(b.Put, Put{Inv: &v})
		}
		if cut == 2 {
			b.Delete = []string{"0-7", "1-8"}
		}
		if err := l.Apply(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	path := l.Path()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := openFile(path, modeRead)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	alone := func(name int64) (rs []namedRollup) {
		for _, width := range liveWidths {
			if err := c.each(ctx, 3, func(vals []driver.Value) error {
				rs = append(rs, namedRollup{rollupKey{width: width, name: name, start: vals[0].(int64)}, vals[1] != int64(0), bytes.Clone(vals[2].([]byte))})
				return nil
			}, "SELECT start, gone, data FROM rollup WHERE width = ? AND name = ?", int64(width), name); err != nil {
				t.Fatal(err)
			}
		}
		return rs
	}
	for _, most := range []int64{1, 4000, 1 << 20} {
		s := rollupsByName{c: c, most: most}
		if err := s.loadSizes(ctx); err != nil {
			t.Fatal(err)
		}
		if len(s.ids) != names {
			t.Fatalf("%d names in %s", len(s.ids), filepath.Base(path))
		}
		gone, together := 0, 0
		for _, name := range append(append([]int64{names + 7}, s.ids[3:]...), s.ids[:4]...) {
			got, err := s.of(ctx, name, liveWidths)
			if err != nil {
				t.Fatal(err)
			}
			together = max(together, len(s.held))
			want := alone(name)
			if len(got) != len(want) {
				t.Fatalf("name %d, %d bytes at once: %d rollups, want %d", name, most, len(got), len(want))
			}
			for i := range got {
				if got[i].key != want[i].key || got[i].gone != want[i].gone || !bytes.Equal(got[i].data, want[i].data) {
					t.Fatalf("name %d: %+v, want %+v", name, got[i], want[i])
				}
				if got[i].gone {
					gone++
				}
			}
		}
		if gone == 0 || (together > 0) != (most > 1) || most == 1<<20 && together < names-4 {
			t.Errorf("%d bytes at once: %d are gone, %d names were held", most, gone, together)
		}
	}
}
