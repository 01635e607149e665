package blocks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// The rollups of a hostile file count what its rows do, and its filter knows
// every id; a pass that fails leaves nothing.
func TestLegacySumsDifferential(t *testing.T) {
	ctx := context.Background()
	pool := NewPool(PoolOptions{Conns: 2})
	defer pool.Close()
	for seed := range uint64(rounds(12)) {
		dir := t.TempDir()
		source := hostileLegacy(t, filepath.Join(t.TempDir(), fmt.Sprintf("hostile%d.db", seed)), seed, 120, 300, 1<<40)
		l := openLegacy(t, source)
		truth := naiveLegacy(t, source)
		path := filepath.Join(dir, "x.db")
		stop := errors.New("stop")
		if err := BuildLegacySums(ctx, l, dir, path, func([]string, []int64) error { return stop }); !errors.Is(err, stop) || listing(t, dir) != "" {
			t.Fatalf("%v; left: %s", err, listing(t, dir))
		}
		seen := 0
		if err := BuildLegacySums(ctx, l, dir, path, func(ids []string, at []int64) error { seen += len(ids); return nil }); err != nil {
			t.Fatal(err)
		}
		s, err := OpenLegacySums(path, l)
		if err != nil || seen != len(truth) {
			t.Fatalf("seed %d: %v, %d rows of %d", seed, err, seen, len(truth))
		}
		for _, width := range []rollup.Width{rollup.Hour, rollup.Day} {
			got, want := rollup.NewSet(width, rollup.DefaultLimits), rollup.NewSet(width, rollup.DefaultLimits)
			if err := s.Rollups(ctx, pool, RollupQuery{To: task.MaxMicros, Width: width}, func(p RollupPart) error {
				return got.MergeBinary(p.Name, p.At, p.Data)
			}); err != nil {
				t.Fatal(err)
			}
			for i := range truth {
				want.Add(&truth[i])
				if !s.MayContain(truth[i].TaskID) {
					t.Fatalf("seed %d: the filter does not know %q", seed, truth[i].TaskID)
				}
			}
			for k, a := range want.All() {
				if b := got.Get(k.Name, k.Bucket); b == nil || !b.Equal(a) {
					t.Fatalf("seed %d, width %d, %+v: %+v, want %+v", seed, width, k, b, a)
				}
			}
			if got.Len() != want.Len() {
				t.Fatalf("seed %d: %d rollups, want %d", seed, got.Len(), want.Len())
			}
		}
		if seed == 0 { // names that it does not count apart are to be counted by rows
			damage(t, path, "INSERT INTO task_name (id, name) VALUES (10001, 'one of many')")
			if err := WriteChecksum(path, dir); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]error{"one of many": ErrFolded, "not there": ErrFolded, truth[0].TaskName: nil} {
				err := s.Rollups(ctx, NewPool(PoolOptions{Conns: 1}), RollupQuery{To: task.MaxMicros, Width: rollup.Hour, Name: name}, func(RollupPart) error { return nil })
				if !errors.Is(err, want) {
					t.Fatalf("rollups of %q: %v, want %v", name, err, want)
				}
			}
		}
		if seed == 0 { // of an older version
			damage(t, path, "DELETE FROM meta WHERE key = 'wait_rule'")
			if err := WriteChecksum(path, dir); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenLegacySums(path, l); err == nil {
				t.Fatal("rollups that count waits by the first rule are taken")
			}
		}
		if err := s.Remove(ctx, pool); err != nil || listing(t, dir) != "" {
			t.Fatalf("%v; left: %s", err, listing(t, dir))
		}
	}
}
