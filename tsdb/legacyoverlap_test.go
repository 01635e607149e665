package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// fixtureAs is a fixture under another name.
func fixtureAs(t testing.TB, name, as string) string {
	t.Helper()
	path := fixture(t, name, filepath.Dir(as))
	for _, side := range []string{"", "-wal"} {
		if err := os.Rename(path+side, as+side); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return as
}

// Files that know the same tasks show each once, as the newer one tells it:
// listed, looked up, counted, summed, in SQL and dumped.
func TestLegacyOverlap(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	cases := [][]string{ // of equally new ones the first by path counts as the newer
		{"gen2-crash-small.db", "gen3-rollback-small.db"},
		{"gen0-small.db", "gen3-small.db", "gen1-small.db"}, // which have some more
	}
	if testing.Short() {
		cases = cases[:1]
	}
	for _, names := range cases {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 1))
			c := &testClock{at: noon}
			o := testOptions(t.TempDir(), c)
			o.RetentionTime = 0
			dir := t.TempDir()
			var paths []string
			want := map[string]string{}
			for i, name := range names {
				path := fixtureAs(t, name, filepath.Join(dir, fmt.Sprint(i, ".db")))
				paths = append(paths, path)
				if err := DumpFiles(ctx, []string{path}, Query{Details: true}, func(v *task.Invocation) error {
					if _, newer := want[v.TaskID]; !newer {
						want[v.TaskID] = string(task.AppendJSON(nil, v))
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			// Listings and SQL do not read rollups: each order once without them and once
			// with them will do, and SQL once in the daemon and once in a tool.
			check := func(db *DB, when string, oldest, sql bool) {
				t.Helper()
				m := &model{t: t, db: db}
				seen := map[string]bool{}
				all := m.all(Query{Limit: 499, Details: true, Oldest: oldest})
				for i := range all {
					id, text := all[i].TaskID, string(task.AppendJSON(nil, &all[i]))
					if seen[id] {
						t.Fatalf("%s: %s is listed twice", when, id)
					}
					seen[id] = true
					if text != want[id] {
						t.Fatalf("%s: listed\n%s\nthe newer file has\n%s", when, text, want[id])
					}
					if i%16 != 0 {
						continue
					}
					got, err := db.Get(ctx, id)
					if err != nil || string(task.AppendJSON(nil, &got)) != text {
						t.Fatalf("%s: get: %v\n%s\nlisted\n%s", when, err, task.AppendJSON(nil, &got), text)
					}
				}
				if len(all) != len(want) {
					t.Fatalf("%s: %d listed of %d", when, len(all), len(want))
				}
				if sql {
					if diff := sqlDiffers(t, db, 0, 0, all); diff != "" {
						t.Fatal(when, ": ", diff)
					}
				}
				for _, q := range []CountQuery{{}, {By: "state"}, {By: "worker"}} {
					if n, err := db.Count(ctx, q); err != nil || n.Total != int64(len(want)) {
						t.Errorf("%s: by %q %d are counted of %d: %v", when, q.By, n.Total, len(want), err)
					}
				}
				tasks, _, err := db.Tasks(ctx, 0, c.now().UnixMicro(), "")
				var total uint64
				for _, x := range tasks {
					total += x.Total
				}
				if err != nil || total != uint64(len(want)) {
					t.Errorf("%s: the summaries count %d of %d: %v", when, total, len(want), err)
				}
				compareSums(t, db, r, when)
			}
			dumped := map[string]bool{}
			if err := DumpFiles(ctx, paths, Query{Details: true}, func(v *task.Invocation) error {
				if dumped[v.TaskID] || string(task.AppendJSON(nil, v)) != want[v.TaskID] {
					return fmt.Errorf("%s again, or not as the first file has it", v.TaskID)
				}
				dumped[v.TaskID] = true
				return nil
			}); err != nil || len(dumped) != len(want) {
				t.Errorf("dumped %d of %d: %v", len(dumped), len(want), err)
			}

			// The rollups of a file were made when nobody knew of a newer one.
			o.Legacy = paths[1:]
			db := start(t, o)
			computeSums(t, db, func() {})
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			o.Legacy = []string{paths[len(paths)-1]}
			o.Legacy = append(o.Legacy, paths[:len(paths)-1]...)
			db = start(t, o)
			if sumsReady(db) {
				t.Error("the rollups are used beside a file they know nothing of")
			}
			check(db, "before rollups", false, true)
			computeSums(t, db, func() {})
			check(db, "with rollups", true, false)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = start(t, o)
			defer func() { db.Close() }()
			if !sumsReady(db) {
				t.Error("the rollups are not used again")
			}
			beside, err := OpenReadOnly(testOptions(o.Dir, c))
			if err != nil {
				t.Fatal(err)
			}
			check(beside, "by a tool", false, true)
			if err := beside.Close(); err != nil {
				t.Fatal(err)
			}
			// Some get on; and the newest file goes.
			n := 0
			for id := range want {
				if n++; n%100 == 0 {
					mustAppend(t, db, finished(id, c.now()))
				}
			}
			compareSums(t, db, r, "gone on")
			for _, seal := range []bool{false, true} {
				if _, err := db.Cut(ctx, seal); err != nil {
					t.Fatal(err)
				}
				compareSums(t, db, r, "cut")
			}
			db.legacy.mu.Lock()
			newest := db.legacy.files[0]
			db.legacy.files = db.legacy.files[1:]
			db.legacy.mu.Unlock()
			if err := db.letGo(newest, false, ""); err != nil {
				t.Fatal(err)
			}
			compareSums(t, db, r, "without the newest")
			all, err := db.Count(ctx, CountQuery{Step: rollup.Forever})
			if err != nil || all.Total < 1000 {
				t.Errorf("%d are left: %v", all.Total, err)
			}
		})
	}
}
