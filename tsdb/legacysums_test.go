package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"daybook/tsdb/rollup"
)

// sumsReady reports whether the rollups of all legacy files are in use.
func sumsReady(db *DB) bool {
	files, done := db.legacy.use()
	defer done()
	for _, f := range files {
		f.sums.mu.Lock()
		ready := f.sums.file != nil
		f.sums.mu.Unlock()
		if !ready {
			return false
		}
	}
	return len(files) > 0
}

// computeSums does what the daemon does in the background; beside runs meanwhile.
func computeSums(t testing.TB, db *DB, beside func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- db.sumLegacies(context.Background()) }()
	beside()
	if err := <-ended; err != nil || !sumsReady(db) {
		t.Fatalf("the rollups of the legacy file do not come: %v", err)
	}
}

// compareSums holds sums of random ranges against the rows.
func compareSums(t testing.TB, db *DB, r *rand.Rand, when string) {
	t.Helper()
	all := (&model{t: t.(*testing.T), db: db}).all(Query{Limit: 1000, Oldest: true})
	if len(all) == 0 {
		t.Fatal(when, ": there is nothing")
	}
	low, high := all[0].RowTime(), all[len(all)-1].RowTime()
	for i := range 8 {
		width := oneOf(r, rollup.Forever, rollup.Forever, rollup.Day, rollup.Hour)
		edge := func() int64 {
			return oneOf(r, rollup.Day, rollup.Hour, rollup.Hour, rollup.Minute, rollup.Width(1)).Start(low + r.Int64N(high-low+rollup.Hour.Micros()))
		}
		from, to := edge(), edge()
		if from > to {
			from, to = to, from
		}
		if i == 0 {
			from, to = 0, high+1
		}
		want := rollup.NewSet(width, rollup.DefaultLimits)
		for i := range all {
			if at := all[i].RowTime(); at >= from && at < to {
				want.Add(&all[i])
			}
		}
		name := ""
		if r.IntN(3) == 0 {
			name = all[r.IntN(len(all))].TaskName
		}
		got, unreadable, err := sumSet(context.Background(), db, from, to, width, sumOf{name: name})
		if err != nil || len(unreadable) > 0 {
			t.Fatal(when, err, unreadable)
		}
		n := 0
		for k, a := range got.All() {
			if a.Empty() {
				continue
			}
			n++
			if b := want.Get(k.Name, k.Bucket); b == nil || !a.Agrees(b) {
				t.Fatalf("%s: %q from %s to %s by %d, bucket %s:\n got %+v\nwant %+v", when, k.Name, stamp(from), stamp(to), width, stamp(k.Bucket), a, b)
			}
		}
		for k := range want.All() {
			if name == "" || name == k.Name {
				n--
			}
		}
		if n != 0 {
			t.Fatalf("%s: %d rollups too many from %s to %s by %d", when, n, stamp(from), stamp(to), width)
		}
	}
}

// The rollups of a legacy file count what its rows do, whatever days and the
// head know of its tasks, through crashes, damage and deletions.
func TestLegacySums(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gen3-rollback-small.db", "gen1-small.db"} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(len(name)), 3))
			path := fixture(t, name, t.TempDir())
			before := digest(t, path)
			c := &testClock{at: time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)}
			o := testOptions(t.TempDir(), c)
			o.Legacy, o.RetentionTime = []string{path}, 0
			db := start(t, o)
			defer func() { db.Close() }()
			ctx := context.Background()
			compareSums(t, db, r, "at first")
			old := (&model{t: t, db: db}).all(Query{Limit: 1000})
			// again makes tasks of the file known to the head, some by events that
			// do not look as if they were of old tasks.
			again := func(n int) {
				for range n {
					at := c.now().Add(-time.Duration(r.IntN(3600)) * time.Second)
					rec := finished(old[r.IntN(len(old))].TaskID, at)
					if r.IntN(2) == 0 {
						rec.Invocation.ReceivedAt = at.UnixMicro()
					}
					if r.IntN(4) == 0 {
						rec = started(rec.Invocation.TaskID, at)
					}
					mustAppend(t, db, rec)
				}
			}
			again(5)
			computeSums(t, db, func() { again(30) })
			compareSums(t, db, r, "computed")
			again(5)
			compareSums(t, db, r, "in the head")
			cut := func(seal bool) {
				t.Helper()
				if _, err := db.Cut(ctx, seal); err != nil {
					t.Fatal(err)
				}
			}
			cut(false)
			compareSums(t, db, r, "cut")
			reopen := func(when string, ready bool, between func()) {
				t.Helper()
				db.crash(t)
				between()
				db = start(t, o)
				if ready && !sumsReady(db) {
					t.Errorf("%s: the rollups are not used again", when)
				}
				compareSums(t, db, r, when)
				computeSums(t, db, func() { again(1) })
				compareSums(t, db, r, when+", ready")
			}
			reopen("after a crash", true, func() {})
			again(3)
			cut(false)
			c.add(24 * time.Hour)
			cut(true)
			compareSums(t, db, r, "sealed")
			sums := db.sumsPath(db.legacy.files[0])
			for what, do := range map[string]func(){
				"deleted":      func() { os.Remove(sums) },
				"damaged":      func() { flip(t, sums) },
				"damaged note": func() { flip(t, sums+".shared") },
				"no note":      func() { os.Remove(sums + ".shared") },
				"stale": func() {
					if err := os.Chtimes(path, c.now(), c.now()); err != nil {
						t.Fatal(err)
					}
				},
			} {
				reopen(what, false, do)
			}
			beside, err := OpenReadOnly(testOptions(o.Dir, c))
			if err != nil {
				t.Fatal(err)
			}
			compareSums(t, beside, r, "read-only")
			if err := beside.Close(); err != nil {
				t.Fatal(err)
			}
			if after := digest(t, path); after != before {
				t.Errorf("the file was changed:\n%s\n%s", before, after)
			}
		})
		if testing.Short() {
			break
		}
	}
}

// flip changes a byte of a file.
func flip(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)*2/3] ^= 0x10
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o444); err != nil {
		t.Fatal(err)
	}
}

// What is left of a pass that a crash cut short is nothing, and the rollups go
// with the file.
func TestLegacySumsGo(t *testing.T) {
	t.Parallel()
	c := &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	o := testOptions(t.TempDir(), c)
	path := fixture(t, "gen3-small.db", t.TempDir())
	o.Legacy, o.RetentionTime = []string{path}, 3*24*time.Hour
	left := filepath.Join(o.Dir, "tmp", "legacy-rollups.1.db")
	if err := os.MkdirAll(filepath.Dir(left), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := start(t, o)
	defer db.Close()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := db.sumLegacies(ended); err != nil || sumsReady(db) {
		t.Errorf("a pass that was ended: %v", err)
	}
	computeSums(t, db, func() {})
	if _, err := os.Stat(left); err == nil {
		t.Error("what a crash left is still there")
	}
	if err := db.saveSharedOf(db.legacy.files[0]); err != nil {
		t.Fatal(err)
	}
	if rest, err := os.ReadDir(filepath.Join(o.Dir, "tmp")); err != nil || len(rest) > 0 {
		t.Errorf("left: %v %v", rest, err)
	}
	list := func() string {
		entries, err := os.ReadDir(filepath.Join(o.Dir, legacyRollups))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(len(entries))
	}
	if list() != "3" {
		t.Errorf("%s files are kept", list())
	}
	c.add(4 * 24 * time.Hour)
	if err := db.retainLegacies(); err != nil {
		t.Fatal(err)
	}
	if list() != "0" {
		t.Errorf("%s files are left", list())
	}
	if n, err := db.Count(context.Background(), CountQuery{}); err != nil || n.Total != 0 {
		t.Errorf("%+v %v", n, err)
	}
}

// A legacy file that is to make room does not wait for its rollups, which wait
// for the head to empty, which waits for room.
func TestLegacySumsHoldNoFile(t *testing.T) {
	t.Parallel()
	c := &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime, o.HeadMaxRecords = 0, 10
	home := filepath.Join(o.Dir, "legacy")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gen3-small.db", "gen1-small.db"} {
		fixture(t, name, home)
	}
	db := start(t, o)
	defer db.Close()
	for i := range 6 {
		mustAppend(t, db, finished(fmt.Sprint(i), c.now()))
	}
	files, done := db.legacy.use()
	done()
	computing := make(chan error, 1)
	go func() { computing <- db.sumLegacies(context.Background()) }()
	for _, f := range files {
		until(t, "its rollups are being computed", func() bool {
			f.sums.mu.Lock()
			defer f.sums.mu.Unlock()
			return f.sums.building
		})
		gone := make(chan error, 1)
		go func() { gone <- db.deleteHandedOver(f.Path(), "size") }()
		until(t, "it is gone", func() bool { return len(gone) == 1 })
		if err := <-gone; err != nil {
			t.Error(err)
		}
	}
	if err := <-computing; err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"tmp", legacyRollups} {
		if rest, err := filepath.Glob(filepath.Join(o.Dir, dir, "*")); err != nil || len(rest) > 0 {
			t.Errorf("left: %v %v", rest, err)
		}
	}
}
