package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// Who mends a damaged day sets its file aside before it takes the good one from the
// backup. A backup that prunes in between keeps that one.
func TestPruneKeepsWhatLiesInQuarantine(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	db := start(t, o)
	mustAppend(t, db, finished("a", noon.Add(-aDay)), finished("b", noon))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	const name = "2026-11-22.db"
	day, sum := filepath.Join(o.Dir, "days", name), filepath.Join(o.Dir, "days", name+".sha256")
	bo := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "backup"), Prune: true, Now: c.now}
	backup := func(what string, problem, kept bool) {
		t.Helper()
		res, err := Backup(ctx, bo)
		if err != nil || len(res.Problems) > 0 != problem || len(res.Pruned) == 0 != kept || exists(filepath.Join(bo.Dest, "days", name)) != kept {
			t.Fatalf("%s: %+v %v", what, res, err)
		}
	}
	backup("whole", false, true)
	aside := filepath.Join(o.Dir, "quarantine")
	at := filepath.Join(aside, name)
	move := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(day, at)
	backup("the file alone", false, true)
	move(sum, at+".sha256")
	backup("with its checksum", false, true)
	for _, to := range []string{name + ".damaged", "disk/" + name, "replaced-20261123T120000Z/days/" + name} {
		to = filepath.Join(aside, to)
		move(at, to)
		at = to
		backup(at, false, true)
	}
	elsewhere := filepath.Join(t.TempDir(), "quarantine")
	move(aside, elsewhere)
	if err := os.Symlink(elsewhere, aside); err != nil {
		t.Fatal(err)
	}
	backup("on another disk", false, true)
	if err := os.Remove(aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(aside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	backup("quarantine cannot be read", true, true)
	if err := os.Remove(aside); err != nil {
		t.Fatal(err)
	}
	// Neither a checksum nor a live file is a sealed one.
	for _, other := range []string{name + ".sha256", "served-until-20261123T120000Z/live/2026-11-22.7.db"} {
		other = filepath.Join(aside, other)
		if err := os.MkdirAll(filepath.Dir(other), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	backup("gone", false, false)
}
