//go:build faults

package tsdb

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"daybook/tsdb/fault"
)

// A sealed file that got its name while the disk failed, and that the disk did
// not let be taken away, is taken away before its day is sealed again.
func TestFailEveryTimeASealedFileIsNamed(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	yesterday := noon.Add(-24 * time.Hour)
	ctx := context.Background()
	db := start(t, o)
	defer func() { db.Close() }()
	mustAppend(t, db, finished("a", yesterday))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	var bad atomic.Bool
	bad.Store(true)
	days := filepath.Join(o.Dir, "days")
	defer fault.Set(func(op, path string) error {
		if bad.Load() && (op == "syncdir" && path == days || op == "remove" && strings.HasPrefix(path, days)) {
			return syscall.EIO
		}
		return nil
	})()
	for range 2 {
		if _, err := db.Cut(ctx, true); err == nil {
			t.Fatal("it was sealed on a disk that fails")
		}
	}
	if got := dayNames(t, o.Dir); got != "2026-11-22" {
		t.Fatalf("%q was named", got)
	}
	mustAppend(t, db, finished("b", yesterday))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	bad.Store(false)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if got := dayNames(t, o.Dir); got != "2026-11-22.2" {
		t.Errorf("%q is there", got)
	}
	want := contents(t, db)
	db.crash(t)
	db = start(t, o)
	if left := db.compact.Unreadable(); len(left) > 0 {
		t.Error(left)
	}
	sameContents(t, "started again", contents(t, db), want)
}
