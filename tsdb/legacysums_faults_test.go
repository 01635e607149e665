//go:build faults

package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/tsdb/fault"
)

// failNth lets the nth operation fail that do does, and returns what it was, or
// all that were done if there are fewer.
func failNth(base string, n int, do func()) (failed string, done []string) {
	var mu sync.Mutex
	d := newDisk(base)
	restore := fault.Set(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "point" || path == "/dev/urandom" {
			return nil
		}
		kind := d.kindOf(op, path)
		if done = append(done, kind); len(done) != n+1 {
			return nil
		}
		failed = kind
		return &os.PathError{Op: op, Path: path, Err: errnosOf(op)[0]}
	})
	defer restore()
	do()
	return failed, done
}

// twice are the operations of which a kind is, up to the second and the last: what
// comes again and again is the same again and again.
func twice(done []string) (nth []int) {
	count, total := map[string]int{}, map[string]int{}
	for _, kind := range done {
		total[kind]++
	}
	for n, kind := range done {
		if count[kind]++; count[kind] <= 2 || count[kind] == total[kind] {
			nth = append(nth, n)
		}
	}
	return nth
}

// TestFailEveryLegacyRollup lets every operation fail with which the rollups of a
// legacy file are computed and kept: that is told, summaries stay right, nothing
// is left behind, and the next time they come.
func TestFailEveryLegacyRollup(t *testing.T) {
	ctx := context.Background()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.Legacy = []string{fixture(t, "gen1-small.db", t.TempDir())}
	db := start(t, o)
	defer func() { db.Close() }()
	sums := func() any {
		t.Helper()
		out, _, err := db.Tasks(ctx, 0, db.now()+1, "")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := sums() // from rows
	build := func() (err error) {
		db.legacy.files[0].sums.drop()
		return db.sumLegacies(ctx)
	}
	// whole wants them to be there, and nothing else.
	whole := func(when string) {
		t.Helper()
		if !sumsReady(db) {
			t.Fatalf("%s: there are no rollups", when)
		}
		if got := sums(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v\nwant %+v", when, got, want)
		}
		for dir, n := range map[string]int{"tmp": 0, legacyRollups: 3} {
			if left, err := os.ReadDir(filepath.Join(o.Dir, dir)); err != nil || len(left) != n {
				t.Fatalf("%s: %s has %v: %v", when, dir, left, err)
			}
		}
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	_, done := failNth(o.Dir, -1, func() {
		if err := build(); err != nil { // over others, as it goes from now on
			t.Fatal(err)
		}
	})
	whole("at first")
	for _, n := range twice(done) {
		var err error
		kind, _ := failNth(o.Dir, n, func() { err = build() })
		if kind != "" && err == nil {
			t.Errorf("nobody was told of %s", kind)
		}
		if got := sums(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s failed: %+v\nwant %+v", kind, got, want)
		}
		if err := build(); err != nil {
			t.Fatalf("after %s: %v", kind, err)
		}
		whole("after " + kind)
	}
	t.Logf("%d of %d operations failed, one after the other", len(twice(done)), len(done))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	whole("after a start")
}

// TestFailEveryLegacyDeletion lets every operation fail with which a legacy file
// goes for want of room: that is told, it goes the next time with its rollups, and
// a crash brings nothing back.
func TestFailEveryLegacyDeletion(t *testing.T) {
	ctx := context.Background()
	base := t.TempDir()
	first := ""
	var all []int
	for i := -1; i < len(all); i++ {
		reg := prometheus.NewRegistry()
		o := testOptions(filepath.Join(base, "data"), &testClock{at: noon})
		o.RetentionTime, o.RetentionSize, o.DiskUsage, o.Metrics = 0, 16<<20, 0, reg
		home := filepath.Join(o.Dir, "legacy")
		if err := os.MkdirAll(home, 0o755); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = fixture(t, "gen1-small.db", t.TempDir())
		}
		text, err := os.ReadFile(first)
		if err == nil {
			err = os.WriteFile(filepath.Join(home, "gen1-small.db"), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		db := start(t, o)
		if err := db.sumLegacies(ctx); err != nil {
			t.Fatal(err)
		}
		page, err := db.Select(ctx, Query{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, db, started(page.Invocations[0].TaskID, noon))
		n := -1
		if i >= 0 {
			n = all[i]
		}
		kind, done := failNth(o.Dir, n, func() { _, err = retainOldest(t, db, 0) })
		if i < 0 {
			all = twice(done)
		}
		told := err != nil || value(t, reg, "daybook_background_failures_total") > 0
		if told == (kind == "") {
			t.Errorf("%s failed, and somebody was told: %v %v", kind, told, err)
		}
		if i >= 0 && !told || i < 0 && err != nil {
			t.Fatal(kind, err)
		}
		db.cutRound(ctx)
		db.retainRound(ctx)
		db.spaceRound(ctx)
		ails(t, db, true)
		want := contents(t, db)
		db.crash(t)
		err = filepath.WalkDir(home, func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() && !strings.HasSuffix(path, attachedName) {
				t.Errorf("after %s: %s is there", kind, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Metrics = nil
		db = start(t, o)
		if got := contents(t, db); len(got) != 1 {
			t.Errorf("after %s: %d are there", kind, len(got))
		} else {
			sameContents(t, "after "+kind, got, want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(base); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d operations failed, one in each", len(all))
}
