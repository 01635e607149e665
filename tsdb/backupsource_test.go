package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A backup is refused into that of another data directory, also when the two
// have no day in common, and not into that of the same one that was moved.
func TestBackupOfAnother(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	made := func(name string, days ...int) Options {
		o := testOptions(t.TempDir(), c)
		db := start(t, o)
		for _, d := range days {
			mustAppend(t, db, finished(fmt.Sprint(name, d), noon.Add(-time.Duration(d)*24*time.Hour)))
		}
		mustAppend(t, db, finished(name, noon))
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return o
	}
	backup := func(dir, dest string) error {
		_, err := Backup(ctx, BackupOptions{Dir: dir, Dest: dest})
		return err
	}
	mine, other, young := made("mine", 1, 2), made("other", 3, 4), made("young")
	for _, first := range []Options{mine, young} {
		dest := filepath.Join(t.TempDir(), "backup")
		if err := backup(first.Dir, dest); err != nil {
			t.Fatal(err)
		}
		before := treeOf(t, dest)
		var refused *otherSourceError
		if err := backup(other.Dir, dest); !errors.As(err, &refused) || !strings.Contains(err.Error(), first.Dir) {
			t.Fatalf("into another one's: %v", err)
		}
		if after := treeOf(t, dest); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the backup was changed:\n%v\n%v", before, after)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(first.Dir, link); err != nil {
			t.Fatal(err)
		}
		moved := filepath.Join(t.TempDir(), "moved")
		if err := backup(link, dest); err != nil {
			t.Errorf("by way of a link: %v", err)
		}
		if err := os.Rename(first.Dir, moved); err != nil {
			t.Fatal(err)
		}
		if err := backup(moved, dest); err != nil {
			t.Errorf("a directory that was moved: %v", err)
		}
		opened(t, dest, first)
	}
}

// treeOf lists a directory with sizes and times.
func treeOf(t testing.TB, dir string) (out []string) {
	t.Helper()
	files, err := filesUnder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		fi, err := os.Lstat(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(f, fi.Size(), fi.ModTime()))
	}
	return out
}

// The note of what is attached elsewhere is no part of a copy, and follows a
// file that leaves; that the user then deletes it is no fault.
func TestLegacyNoteOfAttached(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	o := testOptions(t.TempDir(), c)
	path := fixture(t, "gen1-small.db", t.TempDir())
	o.Legacy, o.RetentionTime = []string{path}, 3*24*time.Hour
	db := start(t, o)
	defer db.Close()
	mustAppend(t, db, finished("x", c.now()))
	beside := func(dir string) (rows int, found, notes []Finding) {
		t.Helper()
		ro, err := OpenReadOnly(testOptions(dir, c))
		if err != nil {
			t.Fatal(err)
		}
		defer ro.Close()
		if err := ro.Verify(ctx, nil, func(f Finding) {
			if f.Note {
				notes = append(notes, f)
			} else {
				found = append(found, f)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return len(contents(t, ro)), found, notes
	}
	if rows, found, _ := beside(o.Dir); rows < 100 || len(found) > 0 {
		t.Fatalf("beside the daemon: %d rows, %v", rows, found)
	}
	snap, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "backup")
	if err := os.MkdirAll(filepath.Join(dest, "legacy"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"BACKUP": "", "legacy/attached": path + "\n"} { // as older ones have it
		if err := os.WriteFile(filepath.Join(dest, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Backup(ctx, BackupOptions{Dir: o.Dir, Dest: dest}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dest, filepath.Join(o.Dir, snap.Path)} {
		if rows, found, _ := beside(dir); rows != 1 || len(found) > 0 || exists(filepath.Join(dir, attachedName)) {
			t.Errorf("the copy %s: %d rows, %v", dir, rows, found)
		}
	}
	note, err := os.ReadFile(filepath.Join(o.Dir, attachedName))
	if err != nil {
		t.Fatal(err)
	}
	c.add(4 * 24 * time.Hour)
	if err := db.retainLegacies(); err != nil {
		t.Fatal(err)
	}
	if rows, found, _ := beside(o.Dir); rows != 1 || len(found) > 0 {
		t.Errorf("aged out: %d rows, %v", rows, found)
	}
	// A daemon that was killed has not noted it.
	if err := errors.Join(os.Remove(path), os.WriteFile(filepath.Join(o.Dir, attachedName), note, 0o644)); err != nil {
		t.Fatal(err)
	}
	if rows, found, notes := beside(o.Dir); rows != 1 || len(found) > 0 || !strings.Contains(fmt.Sprint(notes), path) {
		t.Errorf("deleted: %d rows, %v, %v", rows, found, notes)
	}
}

// What lies under legacy/ and cannot be read, be it by way of a link, is left
// out and named; the daemon starts.
func TestLegacyHandedOverUnreadable(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	elsewhere := filepath.Join(t.TempDir(), "x.db")
	dir := filepath.Join(o.Dir, "legacy")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(elsewhere, []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "here.db"), []byte("x"), 0o600),
		os.Symlink(elsewhere, filepath.Join(dir, "link.db")), os.Symlink(elsewhere+"-nope", filepath.Join(dir, "dangling.db"))); err != nil {
		t.Fatal(err)
	}
	db := start(t, o)
	defer db.Close()
	reasons := fmt.Sprint(db.Health().Reasons)
	for _, name := range []string{"x.db", "here.db", "dangling.db"} {
		if !strings.Contains(reasons, name) {
			t.Errorf("%s is not named: %s", name, reasons)
		}
	}
	// Every answer says that they are missing, in a tool, too.
	ro, err := OpenReadOnly(testOptions(o.Dir, c))
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	for what, db := range map[string]*DB{"the daemon": db, "a tool": ro} {
		for from, f := range map[string]task.Filter{"everything": {}, "today": {From: noon.Add(-time.Hour).UnixMicro()}} {
			page, err := db.Select(context.Background(), Query{Filter: f, Limit: 1})
			if got := fmt.Sprint(page.Coverage.Unreadable); err != nil || page.Coverage.Complete || got != "[dangling.db here.db x.db]" {
				t.Errorf("%s covers %s: %v, without %s: %v", what, from, page.Coverage.Complete, got, err)
			}
		}
	}
}
