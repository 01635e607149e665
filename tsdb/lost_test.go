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

// A sealed day that somebody took away is told by its checksum: by verify, by answers,
// by a daemon and by a backup, which keeps what it has. Late rows of the day do not
// stand in for it, and it is whole again when it is back.
func TestLostDay(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	yesterday := noon.Add(-24 * time.Hour)
	db := start(t, o)
	for _, id := range []string{"a", "b"} { // the second one is late: generation 2
		mustAppend(t, db, finished(id, yesterday), finished(id+"today", noon))
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	db.compact.Settle()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	const name = "2026-11-22.2.db"
	day, away := filepath.Join(o.Dir, "days", name), filepath.Join(t.TempDir(), name)
	backup := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "backup"), Prune: true, Now: c.now}
	if res, err := Backup(ctx, backup); err != nil || len(res.Problems) > 0 {
		t.Fatal(res, err)
	}
	if err := os.Rename(day, away); err != nil {
		t.Fatal(err)
	}
	tells := func(what string, db *DB, want bool) {
		t.Helper()
		page, err := db.Select(ctx, Query{Limit: 10})
		if err != nil || page.Coverage.Complete == want || strings.Contains(fmt.Sprint(page.Coverage.Unreadable), name) != want {
			t.Errorf("%s: %v, covers %+v", what, err, page.Coverage)
		}
		if reasons := fmt.Sprint(db.Health().Reasons); strings.Contains(reasons, name) != want {
			t.Errorf("%s: %s", what, reasons)
		}
		var found []string
		err = db.Verify(ctx, nil, func(f Finding) {
			if !f.Note {
				found = append(found, f.Path+": "+f.Problem+": "+f.Remedy)
			}
		})
		told := len(found) == 1 && strings.HasPrefix(found[0], "days/"+name+": ") && strings.Contains(found[0], "backup") && strings.Contains(found[0], "delete the .sha256")
		if err != nil || told != want || !want && len(found) > 0 {
			t.Errorf("%s: %v, verify finds %q", what, err, found)
		}
	}
	readOnly := func(what string, want bool) {
		t.Helper()
		ro, err := OpenReadOnly(o)
		if err != nil {
			t.Fatal(err)
		}
		tells(what, ro, want)
		if err := ro.Close(); err != nil {
			t.Fatal(err)
		}
	}
	readOnly("to a tool", true)
	res, err := Backup(ctx, backup)
	if err != nil || len(res.Pruned) > 0 || !strings.Contains(fmt.Sprint(res.Problems), name) || !exists(filepath.Join(backup.Dest, "days", name)) {
		t.Errorf("%+v %v", res, err)
	}

	c.add(time.Minute) // a live file of a past day is numbered by the time
	db = start(t, o)
	mustAppend(t, db, finished("late", yesterday))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	tells("to a daemon", db, true)
	if days, err := filepath.Glob(filepath.Join(o.Dir, "days", "*.db")); err != nil || len(days) > 0 {
		t.Errorf("the day was sealed without its file: %v %v", days, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	// What a crash may have left is no loss: of putting something into quarantine, by
	// a daemon or by a backup.
	for _, place := range []string{"quarantine", "quarantine/replaced-20261123T120000Z/days"} {
		to := filepath.Join(o.Dir, place)
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(away, filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
		readOnly("in "+place, false)
		if err := os.RemoveAll(filepath.Join(o.Dir, "quarantine")); err != nil {
			t.Fatal(err)
		}
	}

	if err := os.Rename(away, day); err != nil {
		t.Fatal(err)
	}
	readOnly("put back", false)
	db = start(t, o)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	db.compact.Settle()
	tells("sealed again", db, false)
	for _, id := range []string{"a", "b", "late"} {
		if _, err := db.Get(ctx, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// An older generation, of which a copy has the checksum alone.
	if err := os.WriteFile(filepath.Join(o.Dir, "days", "2026-11-22.db.sha256"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly("replaced", false)
}
