package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A data directory whose path is no pattern that matches itself is a data
// directory like any other.
func TestPathIsNoPattern(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := testOptions(filepath.Join(t.TempDir(), "a[b]c"), &testClock{at: noon})
	o.RetentionTime, o.DiskUsage, o.RetentionSize = 0, 0, 16<<20
	home := filepath.Join(o.Dir, "legacy")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	fixture(t, "gen1-small.db", home)
	db := start(t, o)
	defer func() { db.Close() }()
	if len(db.legacy.files) != 1 {
		t.Errorf("%d legacy files are attached, want the one that lies there", len(db.legacy.files))
	}
	mustAppend(t, db, finished("a", noon.AddDate(0, 0, -1)))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	beside, err := OpenReadOnly(testOptions(filepath.Join(o.Dir, "days"), &testClock{at: noon}))
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	if _, err := beside.Get(ctx, "a"); err != nil {
		t.Errorf("among day files without a directory around them: %v", err)
	}
	snapshot, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := retainOldest(t, db, 0); err != nil || n == 0 || exists(filepath.Join(o.Dir, snapshot.Path)) {
		t.Errorf("%d deleted (%v), and the snapshot is still there: %v", n, err, exists(filepath.Join(o.Dir, snapshot.Path)))
	}
}

// A tool that cannot find out which legacy files there are says so, in answers and
// in findings, as does a daemon.
func TestLegacyFilesCannotBeFound(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, unreadable := range []string{"attached", "legacy"} {
		o := testOptions(t.TempDir(), &testClock{at: noon})
		db := start(t, o)
		mustAppend(t, db, finished("a", noon))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		place := filepath.Join(o.Dir, "legacy")
		err := os.RemoveAll(place)
		if err == nil && unreadable == "attached" { // a directory cannot be read as a file, by root either
			err = os.MkdirAll(filepath.Join(place, "attached"), 0o755)
		} else if err == nil {
			err = os.WriteFile(place, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		beside, err := OpenReadOnly(testOptions(o.Dir, &testClock{at: noon}))
		if err != nil {
			t.Fatal(err)
		}
		page, err := beside.Select(ctx, Query{Limit: 1})
		if err != nil || page.Coverage.Complete || !slices.Contains(page.Coverage.Unreadable, unreadable) {
			t.Errorf("%s: %v, an answer covers %+v", unreadable, err, page.Coverage)
		}
		found := false
		err = beside.Verify(ctx, nil, func(f Finding) { found = found || filepath.Base(f.Path) == unreadable && !f.Note })
		if err != nil || !found {
			t.Errorf("%s: verify finds nothing: %v", unreadable, err)
		}
		if err := beside.Close(); err != nil {
			t.Fatal(err)
		}
		if unreadable == "legacy" {
			db = start(t, o)
			if page, err := db.Select(ctx, Query{Limit: 1}); err != nil || page.Coverage.Complete {
				t.Errorf("%s: a daemon: %v, %+v", unreadable, err, page.Coverage)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
