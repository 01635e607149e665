package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("daybook-test", dir, "tmpfs", 0, "size="+size+",mode=755"); err != nil {
		t.Skipf("needs a kernel that lets root mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// A day for whose file there is no room is not sealed until there is: the disk is not
// filled with what is in vain, requests are taken meanwhile, and health says why.
func TestSealWaitsForRoom(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	reg := prometheus.NewRegistry()
	o := testOptions(smallDisk(t, "64m"), c)
	o.Metrics, o.RetentionTime, o.DiskUsage = reg, 0, 0
	db := start(t, o)
	defer func() { db.Close() }()
	ctx := context.Background()
	yesterday := filepath.Join(o.Dir, "days", "2026-11-22.db")
	fill(t, db, noon.Add(-24*time.Hour), 20_000)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := db.compact.Tighten(ctx); err != nil {
		t.Fatal(err)
	}
	c.add(time.Hour)
	free, need, err := db.diskRoom(0)
	if err != nil {
		t.Fatal(err)
	}
	const spare = 3 << 20 // less than the sealed file takes
	filler := filepath.Join(o.Dir, "somebody-elses")
	if err := os.WriteFile(filler, make([]byte, free-need-spare), 0o600); err != nil {
		t.Fatal(err)
	}
	failed := func() float64 { return value(t, reg, "daybook_background_failures_total") }
	for range 3 {
		db.sealRound(ctx)
		ails(t, db, true, "sealing fails: sealing 2026-11-22: there is no room: its file may take ", "are to stay free for what comes in, and ", "are free. Make room")
		if exists(yesterday) || failed() != 1 {
			t.Fatalf("sealed: %v; %v failures", exists(yesterday), failed())
		}
	}
	mustAppend(t, db, finished("meanwhile", noon))
	c.add(time.Minute)
	db.sealRound(ctx)
	if failed() != 2 {
		t.Errorf("after a minute it was not tried again: %v failures", failed())
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	db.sealRound(ctx) // at once: there is room
	mustAppend(t, db, finished("after", noon))
	ails(t, db, true)
	if !exists(yesterday) {
		t.Error("with room, it is not sealed")
	}
}

// A day that cannot be sealed is tried again after two seconds, then after twice as
// long each time, and after ten minutes at most. Other days have waits of
// their own.
func TestSealBacksOff(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	reg := prometheus.NewRegistry()
	o := testOptions(t.TempDir(), c)
	o.Metrics, o.RetentionTime = reg, 0
	db := start(t, o)
	defer func() { db.Close() }()
	ctx := context.Background()
	late := func(id string, days int) {
		t.Helper()
		mustAppend(t, db, finished(id, noon.Add(-time.Duration(days)*24*time.Hour)))
		if _, err := db.Cut(ctx, false); err != nil {
			t.Fatal(err)
		}
	}
	tmp := filepath.Join(o.Dir, "tmp")
	breaks := func() { // what root may not do, either
		t.Helper()
		if err := os.Rename(tmp, tmp+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tmp, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	works := func() {
		t.Helper()
		if err := os.Rename(tmp+".away", tmp); err == nil {
			t.Fatal("renamed over a file")
		} else if err := os.Remove(tmp); err != nil {
			t.Fatal(err)
		} else if err := os.Rename(tmp+".away", tmp); err != nil {
			t.Fatal(err)
		}
	}
	failed := func() float64 { return value(t, reg, "daybook_background_failures_total") }
	// tries counts them in as many rounds.
	tries := func(rounds int) (n int) {
		before := failed()
		for i := range rounds {
			c.add(2 * time.Second)
			db.sealRound(ctx)
			if i%100 == 0 {
				db.retainRound(ctx) // or the clock will have jumped
			}
		}
		return int(failed() - before)
	}
	late("a", 1)
	c.add(time.Minute)
	breaks()
	db.sealRound(ctx)
	ails(t, db, true, "sealing fails: sealing 2026-11-22: ")
	if n := tries(3600 / 2); n != 13 { // 2, 6, 14, 30, 62, 126, 254, 510, 1 022, 1 622, 2 222, 2 822 and 3 422 s after
		t.Errorf("in an hour it was tried %d times", n)
	}
	late("b", 2)
	if n := tries(5); n != 3 { // 4, 6 and 10 s after it was cut
		t.Errorf("another day was tried %d times in 10 s", n)
	}
	ails(t, db, true, "sealing 2026-11-21: ", "sealing 2026-11-22: ")
	works()
	if n := tries(10 * 60 / 2); n != 1 { // the other day works, and this one has not been tried again
		t.Errorf("told %d times", n)
	}
	ails(t, db, true)
	if got := dayNames(t, o.Dir); !strings.Contains(got, "2026-11-21") || !strings.Contains(got, "2026-11-22") {
		t.Errorf("sealed: %s", got)
	}
	breaks()
	late("c", 1) // an overlay
	if _, err := db.Cut(ctx, true); err == nil {
		t.Error("sealed without a place to build")
	}
	works()
	if _, err := db.Cut(ctx, true); err != nil { // who asks for it does not wait
		t.Error(err)
	}
	db.sealRound(ctx)
	ails(t, db, true)
}

// A day that could not be sealed, and then is not due any more because of a late row,
// is no failure that lasts until the next midnight.
func TestSealThatIsNotDue(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer func() { db.Close() }()
	ctx := context.Background()
	yesterday := noon.Add(-24 * time.Hour)
	store := func(prefix string, n int) {
		t.Helper()
		for i := range n {
			mustAppend(t, db, finished(fmt.Sprint(prefix, i), yesterday))
		}
		if _, err := db.Cut(ctx, false); err != nil {
			t.Fatal(err)
		}
	}
	store("a", 200)
	c.add(time.Minute)
	db.sealRound(ctx)
	store("late", 1)
	c.add(13 * time.Hour) // midnight is over
	tmp := filepath.Join(o.Dir, "tmp")
	if err := errors.Join(os.Rename(tmp, tmp+".away"), os.WriteFile(tmp, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(os.Remove(tmp), os.Rename(tmp+".away", tmp)); err != nil {
			t.Error(err)
		}
	}()
	db.sealRound(ctx)
	ails(t, db, true, "sealing fails: sealing 2026-11-22: ")
	store("later", 1)
	c.add(time.Minute)
	db.sealRound(ctx)
	if h := db.Health(); strings.Contains(fmt.Sprint(h.Reasons), "sealing") {
		t.Error(h.Reasons)
	}
}

// A quarter of either cap is too much for rows that wait for the seal of their day, and
// so is more than a cut counts.
func TestCrowds(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.HeadMaxRecords = 400
	db := start(t, o)
	for i := range 100 {
		mustAppend(t, db, finished(fmt.Sprint(i), noon))
	}
	if db.crowds(100) || !db.crowds(101) {
		t.Error("of 400 records")
	}
	_, bytes := db.head.Size()
	db.opts.HeadMaxBytes = 2 * bytes // so that half of what is there is a quarter
	if db.crowds(50) || !db.crowds(51) {
		t.Errorf("of %d bytes, %d", db.opts.HeadMaxBytes, bytes)
	}
	db.opts.HeadMaxRecords, db.opts.HeadMaxBytes = 1<<40, 1<<60
	if db.crowds(mostWaiting) || !db.crowds(mostWaiting+1) {
		t.Error("with large caps")
	}
}
