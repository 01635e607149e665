package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/blocks"
)

// A day of which the source has an older generation again, or another one of that
// name, is replaced, and what the backup had is set aside.
func TestBackupOfADayThatWasReplaced(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	db := start(t, o)
	defer func() { db.Close() }()
	sealed := func(days string, recs ...Record) {
		t.Helper()
		mustAppend(t, db, recs...)
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
		db.compact.Settle()
		if got := dayNames(t, o.Dir); got != days {
			t.Fatal(got)
		}
	}
	yesterday := noon.Add(-24 * time.Hour)
	sealed("2026-11-21 2026-11-22", finished("a", yesterday.Add(-24*time.Hour)), finished("b", yesterday))
	sealed("2026-11-21 2026-11-22.2", finished("c", yesterday))
	older := t.TempDir()
	copyTree(t, filepath.Join(o.Dir, "days"), older)
	sealed("2026-11-21 2026-11-22.3", finished("d", yesterday))
	at := func(name string) BackupOptions {
		return BackupOptions{Dir: o.Dir, Dest: filepath.Join(filepath.Dir(older), name), Now: c.now}
	}
	first, later, alone := at("first"), at("later"), at("alone")
	if _, err := Backup(ctx, first); err != nil {
		t.Fatal(err)
	}
	const lost = "days/2026-11-22.3.db"
	sum, err := os.ReadFile(filepath.Join(o.Dir, lost+".sha256"))
	if err != nil {
		t.Fatal(err)
	}
	copyTree(t, first.Dest, later.Dest)
	copyTree(t, first.Dest, alone.Dest)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lost, lost + ".sha256"} {
		if err := os.Remove(filepath.Join(o.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"2026-11-22.2.db", "2026-11-22.2.db.sha256"} {
		if err := os.Rename(filepath.Join(older, name), filepath.Join(o.Dir, "days", name)); err != nil {
			t.Fatal(err)
		}
	}
	db = start(t, o)
	// same wants a backup to show what the source does, and to have set one day aside.
	same := func(what string, bo BackupOptions) {
		t.Helper()
		res, err := Backup(ctx, bo)
		if err != nil || !strings.HasPrefix(res.SetAside, "quarantine/replaced-") {
			t.Fatalf("%s: %+v %v", what, res, err)
		}
		sameContents(t, what, opened(t, bo.Dest, o), contents(t, db))
		if kept, err := os.ReadFile(filepath.Join(bo.Dest, res.SetAside, lost+".sha256")); err != nil || string(kept) != string(sum) {
			t.Errorf("%s: its checksum is set aside as %q: %v", what, kept, err)
		}
		if found, err := blocks.CheckFile(ctx, filepath.Join(bo.Dest, res.SetAside, lost), true); err != nil || len(found) > 0 {
			t.Errorf("%s: what is set aside: %v %v", what, found, err)
		}
		if res, err := Backup(ctx, bo); err != nil || res.SetAside != "" {
			t.Errorf("%s: again: %+v %v", what, res, err)
		}
	}
	same("an older one is there again", first)
	c.add(time.Hour)
	sealed("2026-11-21 2026-11-22.3", finished("e", yesterday))
	if res, err := Backup(ctx, first); err != nil || res.SetAside != "" {
		t.Fatal(res, err)
	}
	sameContents(t, "and a new one", opened(t, first.Dest, o), contents(t, db))
	same("another one of that name", later)

	// With no day in common it may be the backup of what was here before.
	for _, name := range []string{"2026-11-21.db", "2026-11-21.db.sha256"} {
		if err := os.Remove(filepath.Join(alone.Dest, "days", name)); err != nil {
			t.Fatal(err)
		}
	}
	before := treeOf(t, alone.Dest)
	if _, err := Backup(ctx, alone); err == nil || !strings.Contains(err.Error(), "move that file") {
		t.Error(err)
	}
	if after := treeOf(t, alone.Dest); !slices.Equal(before, after) {
		t.Errorf("it had %v, has %v", before, after)
	}
}
