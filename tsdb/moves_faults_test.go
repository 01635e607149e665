//go:build faults

package tsdb

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"daybook/tsdb/fault"
)

// TestFailEveryMoveThatIsFinished starts on a copy that was made in the middle
// of a cut, while the disk fails: health says that the cut is not finished, and
// when the disk is well the next round of the cutter finishes it.
func TestFailEveryMoveThatIsFinished(t *testing.T) {
	dest, o, want, _ := middleOfACut(t)
	ctx := context.Background()
	for what, fails := range map[string]func(op, path string) bool{
		"the log": func(op, _ string) bool { return op == "log.sync" },
		"a file":  func(op, path string) bool { return op == "sqlite.open" && strings.Contains(path, "live/") },
	} {
		t.Run(what, func(t *testing.T) {
			o := o
			o.Dir = filepath.Join(t.TempDir(), "copy")
			copyTree(t, dest, o.Dir)
			if err := writeCopiedLock(filepath.Join(o.Dir, "LOCK"), o.Now()); err != nil { // the clock has not jumped
				t.Fatal(err)
			}
			var bad, met atomic.Bool
			defer fault.Set(func(op, path string) error {
				if op == "point" && path == "replay.prepared" { // what comes next is to finish it
					bad.Store(true)
				}
				if bad.Load() && fails(op, path) {
					met.Store(true)
					return syscall.EIO
				}
				return nil
			})()
			db := start(t, o)
			defer db.Close()
			if !met.Load() {
				t.Fatal("nothing failed")
			}
			ails(t, db, what != "the log", "cannot be finished")
			bad.Store(false)
			db.cutRound(ctx)
			ails(t, db, true)
			if _, err := db.Cut(ctx, false); err != nil {
				t.Fatal(err)
			}
			view := db.catalog.View()
			left, err := view.LeftBehind(ctx)
			view.Release()
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %+v, %v", left, err)
			}
			sameContents(t, "served", contents(t, db), want)
		})
	}
}
