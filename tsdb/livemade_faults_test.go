//go:build faults

package tsdb

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"daybook/blocks"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// TestFailEveryTimeALiveFileIsMade fails every operation with which one is made:
// it is an error, or the file is what it should be. That it could not be made a
// WAL-mode file is told behind the row that PRAGMA journal_mode answers with.
func TestFailEveryTimeALiveFileIsMade(t *testing.T) {
	dir := t.TempDir()
	day := task.DayOf(noon.UnixMicro())
	operations, refused, switches := 0, 0, 0
	for at, failed := 1, true; failed; at++ {
		n, what := 0, ""
		failed = false
		restore := fault.Set(func(op, path string) error {
			if op == "point" || !strings.HasPrefix(path, dir) {
				return nil
			}
			if n++; n != at {
				return nil
			}
			failed, what = true, op+" "+filepath.Base(path)
			return &os.PathError{Op: op, Path: path, Err: syscall.EIO}
		})
		l, err := blocks.CreateLive(dir, day, at)
		restore()
		if failed {
			operations++
		}
		if err != nil {
			if refused++; strings.HasPrefix(what, "sqlite.sync ") && strings.HasSuffix(what, "-journal") {
				switches++
			}
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		head, err := os.ReadFile(l.Path())
		if err != nil || len(head) < 100 {
			t.Fatal(len(head), err)
		}
		if head[18] != 2 || head[19] != 2 { // the versions that readers and writers need
			t.Errorf("%s (%d) fails, nobody is told, and the file is not in WAL mode", what, at)
		}
	}
	// A journal is synced for the tables, and again for the mode.
	if operations < 50 || refused < 50 || switches < 2 {
		t.Errorf("%d operations failed, %d were told, %d of them of a journal: too few to have tested anything", operations, refused, switches)
	}
}
