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

// TestFailEveryDayOfABackup backs up while a sealed day or its checksum cannot
// be opened: that is no reason to make a backup without it.
func TestFailEveryDayOfABackup(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	db := start(t, o)
	defer db.Close()
	mustAppend(t, db, finished("a", noon.Add(-24*time.Hour)))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	want := contents(t, db)
	for _, name := range []string{"days/2026-11-22.db", "days/2026-11-22.db.sha256"} {
		tried := 0
		for _, op := range []string{"open", "sqlite.open"} {
			bo := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "backup"), Now: c.now}
			var met atomic.Bool
			undo := fault.Set(func(at, path string) error {
				if at == op && strings.HasSuffix(path, name) && strings.HasPrefix(path, o.Dir) {
					met.Store(true)
					return syscall.EMFILE
				}
				return nil
			})
			_, err := Backup(ctx, bo)
			undo()
			if met.Load() {
				tried++
			}
			if met.Load() == (err == nil) {
				t.Errorf("%s of %s failed: %v, and the backup says %v", op, name, met.Load(), err)
			}
			res, err := Backup(ctx, bo)
			if err != nil || len(res.Problems) > 0 {
				t.Fatal(res, err)
			}
			sameContents(t, "the backup", opened(t, bo.Dest, o), want)
		}
		if tried == 0 {
			t.Errorf("nothing opened %s", name)
		}
	}
}

// TestFailEveryDayOfABackupForGood backs up while a sealed day or its checksum cannot
// be read, and will not be next time: that is told, the backup has everything
// else, and what an earlier one has of the day stays.
func TestFailEveryDayOfABackupForGood(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	db := start(t, o)
	defer db.Close()
	sealed := func(recs ...Record) {
		t.Helper()
		mustAppend(t, db, recs...)
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	sealed(finished("a", noon.Add(-24*time.Hour)), finished("b", noon.Add(-48*time.Hour)))
	earlier := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "backup"), Now: c.now}
	if res, err := Backup(ctx, earlier); err != nil || len(res.Problems) > 0 {
		t.Fatal(res, err)
	}
	sealed(finished("late", noon.Add(-24*time.Hour)))
	mustAppend(t, db, finished("new", noon))
	for _, x := range []struct {
		op, name string
		errno    syscall.Errno
	}{
		{"sqlite.open", "/days/2026-11-22.2.db", syscall.EACCES},
		{"open", "/days/2026-11-22.2.db.sha256", syscall.EIO},
		{"open", "/days/2026-11-22.2.db.sha256", syscall.EACCES},
		{"read", "/days/2026-11-22.2.db", syscall.EIO},
	} {
		bo := earlier
		bo.Dest = filepath.Join(t.TempDir(), "backup")
		copyTree(t, earlier.Dest, bo.Dest)
		var met atomic.Bool
		undo := fault.Set(func(at, path string) error {
			if at == x.op && strings.HasSuffix(path, x.name) {
				met.Store(true)
				return x.errno
			}
			return nil
		})
		res, err := Backup(ctx, bo)
		undo()
		if !met.Load() || err != nil || len(res.Problems) != 1 || !strings.Contains(res.Problems[0].Error(), "2026-11-22.2.db") {
			t.Errorf("%v: met %v, %v, %v", x, met.Load(), res.Problems, err)
		}
		got := opened(t, bo.Dest, o)
		for _, id := range []string{"a", "b", "new"} {
			if _, ok := got[id]; !ok {
				t.Errorf("%v: %s is missing", x, id)
			}
		}
		if res, err := Backup(ctx, bo); err != nil || len(res.Problems) > 0 {
			t.Fatal(x, res, err)
		}
		sameContents(t, "the backup", opened(t, bo.Dest, o), contents(t, db))
	}
}
