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
			if met.Load() == (err == nil) {
				t.Errorf("%s of %s failed: %v, and the backup says %v", op, name, met.Load(), err)
			}
			res, err := Backup(ctx, bo)
			if err != nil || len(res.Problems) > 0 {
				t.Fatal(res, err)
			}
			sameContents(t, "the backup", opened(t, bo.Dest, o), want)
		}
	}
}
