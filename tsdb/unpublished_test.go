package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A sealed file that got its name while the disk failed, and was never used, does
// not hide what was cut into the live file after that.
func TestSealedButNeverPublished(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	yesterday := noon.Add(-24 * time.Hour)
	ctx := context.Background()
	db := start(t, o)
	mustAppend(t, db, finished("a", yesterday))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	db.crash(t)
	aside := filepath.Join(t.TempDir(), "aside")
	copyTree(t, o.Dir, aside)
	there := o
	there.Dir = aside
	db = start(t, there)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	db.crash(t)

	db = start(t, o)
	mustAppend(t, db, finished("b", yesterday))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	want := contents(t, db)
	db.crash(t)
	if err := os.Rename(filepath.Join(aside, "days", "2026-11-22.db"), filepath.Join(o.Dir, "days", "2026-11-22.db")); err != nil {
		t.Fatal(err)
	}
	sameContents(t, "read-only", opened(t, o.Dir, o), want)
	db = start(t, o)
	defer db.Close()
	sameContents(t, "started", contents(t, db), want)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	sameContents(t, "sealed", contents(t, db), want)
	if found := findings(t, db); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}
