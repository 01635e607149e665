//go:build faults

package tsdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/compact"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// TestFailEveryBackgroundTask lets what nobody waits for fail: health says so, a
// counter counts it, nothing is counted as done that is not, and when the disk
// is well it is done, in the same process.
func TestFailEveryBackgroundTask(t *testing.T) {
	c := &testClock{at: noon}
	reg := prometheus.NewRegistry()
	o := testOptions(filepath.Join(t.TempDir(), "data"), c)
	o.Metrics, o.RetentionTime, o.DiskUsage = reg, 2*24*time.Hour, 0
	o.Legacy = []string{fixture(t, "gen1-small.db", t.TempDir())}
	var mu sync.Mutex
	var bad func(op, path string) bool
	defer fault.Set(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if bad != nil && op != "point" && bad(op, strings.TrimPrefix(path, o.Dir+"/")) {
			return syscall.EIO
		}
		return nil
	})()
	breaks := func(f func(op, path string) bool) {
		mu.Lock()
		defer mu.Unlock()
		bad = f
	}
	ctx := context.Background()
	// fails wants one more failure of an operation, and the reason for it.
	failures := 0.0
	fails := func(db *DB, word string) {
		t.Helper()
		ails(t, db, true, word, "input/output error")
		if n := value(t, reg, "daybook_background_failures_total"); n <= failures {
			t.Fatalf("%s: %v failures are counted", word, n)
		} else {
			failures = n
		}
		breaks(nil)
	}
	there := func(want bool, names ...string) {
		t.Helper()
		for _, name := range names {
			if got := exists(filepath.Join(o.Dir, name)); got != want {
				t.Fatalf("%s is there: %v", name, got)
			}
		}
	}

	breaks(func(op, path string) bool { return op == "rename" && path == attachedName })
	db := start(t, o)
	defer func() { db.Close() }()
	fails(db, "noted for the tools")
	there(false, attachedName)
	db.retainRound(ctx)
	ails(t, db, true)
	there(true, attachedName)

	mustAppend(t, db, finished("a", noon.Add(-24*time.Hour)))
	pass := func(hours int) { // without a jump of the clock
		for range hours {
			c.add(time.Hour)
			db.retainRound(ctx)
		}
	}
	cut := func() {
		t.Helper()
		if _, err := db.Cut(ctx, false); err != nil {
			t.Fatal(err)
		}
		pass(2) // it is due
	}
	cut()
	breaks(func(op, path string) bool { return op == "link" && path == "days/2026-11-22.db" })
	db.sealRound(ctx)
	fails(db, "sealing fails")
	c.add(compact.SealRound)
	db.retainRound(ctx) // or the next hour is a jump
	breaks(func(op, path string) bool { return strings.HasSuffix(path, ".sha256") })
	db.sealRound(ctx)
	db.compact.Settle()
	fails(db, "has no checksum")
	there(true, "days/2026-11-22.2.db")
	breaks(func(op, path string) bool { return strings.HasSuffix(path, ".sha256") })
	db.compact.Mend(ctx)
	fails(db, "has no checksum")
	pass(1)
	db.compact.Mend(ctx)
	ails(t, db, true)
	there(true, "days/2026-11-22.2.db.sha256")

	mustAppend(t, db, finished("b", noon.Add(-24*time.Hour)))
	cut()
	remove := func(op, path string) bool { return op == "remove" && strings.HasPrefix(path, "days") }
	breaks(remove)
	db.sealRound(ctx)
	db.compact.Settle()
	fails(db, "cannot be deleted")
	there(true, "days/2026-11-22.2.db", "days/2026-11-22.3.db")
	db.compact.Mend(ctx)
	ails(t, db, true)
	there(false, "days/2026-11-22.2.db", "days/2026-11-22.2.db.sha256")
	there(true, "days/2026-11-22.3.db")

	snapshot, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	deleted := func() float64 { return value(t, reg, "daybook_retention_deletions_total") }
	pass(30) // it is 23:00
	breaks(remove)
	for range 2 { // the day is out of the catalog the second time
		pass(1)
		db.compact.Mend(ctx)
	}
	fails(db, "cannot be deleted")
	if n := deleted(); n != 0 {
		t.Fatalf("%v deletions are counted before any", n)
	}
	there(true, "days/2026-11-22.3.db")
	db.compact.Mend(ctx)
	there(false, "days/2026-11-22.3.db", "days/2026-11-22.3.db.sha256")
	if n := deleted(); n != 1 {
		t.Fatalf("%v deletions are counted", n)
	}
	ails(t, db, true)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	reg, failures = prometheus.NewRegistry(), 0
	o.Metrics, o.RetentionSize, o.Legacy = reg, 16<<20, nil
	if err := os.WriteFile(filepath.Join(o.Dir, "legacy", "large"), make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	breaks(func(op, path string) bool { return op == "rename" && strings.HasPrefix(path, "tmp/snapshots/") })
	db.spaceRound(ctx)
	fails(db, "retention by size fails")
	there(true, snapshot.Path)
	breaks(func(op, path string) bool { return op == "remove" && strings.HasPrefix(path, "tmp/snapshots/") })
	db.spaceRound(ctx)
	fails(db, "retention by size fails")
	there(false, snapshot.Path) // a part of it is no snapshot
	there(true, "tmp/"+snapshot.Path)
	if n := deleted(); n != 0 {
		t.Fatalf("%v deletions are counted before any", n)
	}

	// What cannot be taken out of tmp/ does not keep a daemon from starting.
	if err := os.WriteFile(filepath.Join(o.Dir, "tmp", "seal-2026-11-20.1.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	reg, failures = prometheus.NewRegistry(), 0
	o.Metrics = reg
	breaks(func(op, path string) bool { return op == "remove" && strings.HasPrefix(path, "tmp/") })
	db = start(t, o)
	there(true, "tmp/"+snapshot.Path, "tmp/seal-2026-11-20.1.db")
	ails(t, db, true, "not all could be put in order", "input/output error")
	fails(db, "retention by size fails")
	db.spaceRound(ctx)
	there(false, "tmp/"+snapshot.Path)
	if n := deleted(); n == 0 {
		t.Fatalf("%v deletions are counted", n)
	}
}

// TestFailEveryDeletionForSpace has a snapshot, a day and a legacy file that cannot be
// deleted when there is no room: nothing else goes for a minute, as they may yet,
// and then the next one does. Of days one may stay.
func TestFailEveryDeletionForSpace(t *testing.T) {
	c := &testClock{at: noon}
	reg := prometheus.NewRegistry()
	o := testOptions(filepath.Join(t.TempDir(), "data"), c)
	o.Metrics, o.RetentionTime, o.DiskUsage, o.RetentionSize = reg, 0, 0, 16<<20
	home := filepath.Join(o.Dir, "legacy")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	legacy := fixture(t, "gen1-small.db", home) // of 2026-11-19
	var bad atomic.Pointer[string]
	none := ""
	bad.Store(&none)
	defer fault.Set(func(op, path string) error {
		if at := *bad.Load(); at != "" && op == "remove" && strings.HasPrefix(strings.TrimPrefix(path, o.Dir+"/"), at) {
			return syscall.EIO
		}
		return nil
	})()
	breaks := func(at string) { bad.Store(&at) }
	ctx := context.Background()
	db := start(t, o)
	defer func() { db.Close() }()
	for i := 1; i <= 6; i++ {
		mustAppend(t, db, finished(fmt.Sprint("a", i), noon.Add(-time.Duration(i)*24*time.Hour)))
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("b", noon.Add(-6*24*time.Hour)), finished("c", noon.Add(-5*24*time.Hour))) // what the snapshot does not hold
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	db.compact.Settle()
	if err := os.WriteFile(filepath.Join(home, "large"), make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	// round is one, after which these days are shown.
	round := func(fails bool, want string) {
		t.Helper()
		db.spaceRound(ctx)
		if fails {
			ails(t, db, true, "retention by size fails", "input/output error")
		}
		var shown []string
		view := db.catalog.View()
		defer view.Release()
		for _, d := range view.Days() {
			if d.Day < task.DayOf(c.now().UnixMicro()) {
				shown = append(shown, d.Day.String()[8:])
			}
		}
		slices.Sort(shown)
		if got := strings.Join(shown, " "); got != want {
			t.Fatalf("the days %q are shown, want %q", got, want)
		}
	}
	breaks("tmp/snapshots/")
	round(true, "17 18 19 20 21 22")
	round(true, "17 18 19 20 21 22")
	c.add(time.Minute)
	round(true, "19 20 21 22") // which the snapshot has, too
	breaks("")
	round(false, "")
	if exists(legacy) || exists(filepath.Join(o.Dir, "tmp", "snapshots")) {
		t.Fatal("the legacy file or the snapshot is still there")
	}

	for i := range 4 {
		mustAppend(t, db, finished(fmt.Sprint("d", i), c.now()))
		c.add(24 * time.Hour)
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	breaks("days/")
	round(true, "24 25 26")
	round(true, "24 25 26")
	c.add(time.Minute)
	round(true, "25 26")
	c.add(time.Hour)
	round(true, "25 26")
	breaks("")
	round(false, "")
	ails(t, db, true, "nothing in it is older than today")
	if files := dayNames(t, o.Dir); files != "" {
		t.Errorf("%s are still there", files)
	}
}
