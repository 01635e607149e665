package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sealedAside cuts a row into a live file, and returns a copy of the directory in
// which that is sealed.
func sealedAside(t *testing.T, o Options, row Record) (dir string) {
	t.Helper()
	cut := func(o Options, seal bool, recs ...Record) {
		db := start(t, o)
		mustAppend(t, db, recs...)
		if _, err := db.Cut(context.Background(), seal); err != nil {
			t.Fatal(err)
		}
		db.crash(t)
	}
	cut(o, false, row)
	dir = filepath.Join(t.TempDir(), "aside")
	copyTree(t, o.Dir, dir)
	o.Dir = dir
	cut(o, true)
	return dir
}

// A sealed file that got its name while the disk failed, and was never used, does
// not hide what was cut into the live file after that.
func TestSealedButNeverPublished(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	yesterday := noon.Add(-24 * time.Hour)
	ctx := context.Background()
	aside := sealedAside(t, o, finished("a", yesterday))
	db := start(t, o)
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

// While it lies there the daemon goes on cutting; a backup is made of what the
// daemon has, not of it.
func TestBackupBesideANeverPublished(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	yesterday := noon.Add(-24 * time.Hour)
	ctx := context.Background()
	aside := sealedAside(t, o, finished("a", yesterday))
	made := dayNames(t, aside)
	db := start(t, o)
	defer func() { db.Close() }()
	if err := os.Rename(filepath.Join(aside, "days", made+".db"), filepath.Join(o.Dir, "days", made+".db")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("b", yesterday))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	want := contents(t, db)
	bo := BackupOptions{Dir: o.Dir, Dest: t.TempDir(), Now: c.now}
	if res, err := Backup(ctx, bo); err != nil || len(res.Problems) > 0 {
		t.Fatalf("%+v %v", res, err)
	}
	sameContents(t, "the backup", opened(t, bo.Dest, o), want)
	db.crash(t)
	// It is put into quarantine, beside another of that name, and the name is
	// not used again.
	quarantine := filepath.Join(o.Dir, "quarantine")
	if err := os.MkdirAll(quarantine, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(quarantine, made+".db"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	db.crash(t)
	db = start(t, o)
	if kept, err := os.ReadDir(quarantine); err != nil || len(kept) != 2 {
		t.Errorf("in quarantine: %v %v", kept, err)
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(o.Dir, "days", made+".db")) {
		t.Errorf("%s is used again", made)
	}
	sameContents(t, "started", contents(t, db), want)
}
