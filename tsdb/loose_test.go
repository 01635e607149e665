package tsdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A daemon does not start on a directory that is nothing but day files: it would hide
// them. What it says to do works, and where it was done before they are named.
func TestLooseDays(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	ctx := context.Background()
	mustAppend(t, db, finished("a", noon.Add(-24*time.Hour)))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	loose := o
	loose.Dir = t.TempDir()
	if err := os.CopyFS(loose.Dir, os.DirFS(filepath.Join(o.Dir, "days"))); err != nil {
		t.Fatal(err)
	}
	db, err := Open(loose)
	if err == nil {
		db.Close()
		t.Fatal("it starts")
	}
	for _, want := range []string{filepath.Join(loose.Dir, "days"), "--storage.read-only", "2026-11-22.db"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	for _, sub := range []string{"days", "live", "wal", "LOCK"} {
		if exists(filepath.Join(loose.Dir, sub)) {
			t.Errorf("%s/ was made", sub)
		}
	}
	shows := func(db *DB, whole bool) {
		t.Helper()
		defer db.Close()
		page, err := db.Select(ctx, Query{Limit: 5})
		if err != nil || len(page.Invocations) == 1 != whole || page.Coverage.Complete != whole {
			t.Errorf("%+v %v", page, err)
		}
		told := strings.Contains(fmt.Sprint(db.Health().Reasons), "a day file outside of days/")
		if told == whole {
			t.Errorf("%q", db.Health().Reasons)
		}
		if found := fmt.Sprint(findings(t, db)); whole != (found == "[]") || !whole && !strings.Contains(found, "put it and its .sha256 into days/") {
			t.Error(found)
		}
	}
	readOnly := func() *DB {
		t.Helper()
		db, err := OpenReadOnly(loose)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	shows(readOnly(), true)
	if a, err := Analyze(ctx, loose.Dir, "2026-11-22"); err != nil || len(a.Files) != 1 || a.Files[0].Rows != 1 {
		t.Errorf("%+v %v", a, err)
	}

	// What an earlier program has made of it.
	for _, sub := range []string{"days", "live"} {
		if err := os.Mkdir(filepath.Join(loose.Dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	shows(start(t, loose), false)
	shows(readOnly(), false)

	for _, name := range []string{"2026-11-22.db", "2026-11-22.db.sha256"} {
		if err := os.Rename(filepath.Join(loose.Dir, name), filepath.Join(loose.Dir, "days", name)); err != nil {
			t.Fatal(err)
		}
	}
	shows(readOnly(), true)
}
