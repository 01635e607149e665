package tsdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"daybook/tsdb/task"
)

// What is read has to have something of Daybook's in it, however little.
func TestWantData(t *testing.T) {
	t.Parallel()
	dir := func(path string) func(string) error {
		return func(root string) error { return os.MkdirAll(filepath.Join(root, path), 0o755) }
	}
	file := func(path, text string) func(string) error {
		return func(root string) error { return os.WriteFile(filepath.Join(root, path), []byte(text), 0o600) }
	}
	for what, x := range map[string]struct {
		make func(root string) error
		ok   bool
	}{
		"nothing":                      {dir("."), false},
		"a file system of its own":     {dir("lost+found"), false},
		"something else":               {file("hosts", "127.0.0.1"), false},
		"what others call so":          {file("LOCK", ""), false},
		"leftovers of no directory":    {dir("tmp"), false},
		"a daemon that starts":         {file("LOCK", "4711                \n"), true},
		"a backup that was killed":     {file(backupMarker, ""), true},
		"days":                         {dir("days"), true},
		"live files":                   {dir("live"), true},
		"a log":                        {dir("wal"), true},
		"legacy files":                 {dir("legacy"), true},
		"what may be a loose day file": {file("2026-11-23.db", "no"), true},
	} {
		o := testOptions(t.TempDir(), &testClock{at: noon})
		if err := x.make(o.Dir); err != nil {
			t.Fatal(err)
		}
		db, err := OpenReadOnly(o)
		if (err == nil) != x.ok {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		if x.ok {
			continue
		}
		o.Legacy = []string{fixture(t, "gen1-small.db", t.TempDir())}
		if db, err = OpenReadOnly(o); err != nil || len(db.legacy.files) != 1 {
			t.Errorf("%s: with a legacy file: %v", what, err)
			continue
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A directory may have had a tmp/ and a live/ of somebody else's before it became a data
// directory: of what is there only what Daybook made goes, at every start.
func TestOthersFilesStay(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	others := []string{"tmp/results/thesis.csv", "tmp/notes.txt", "tmp/reserved", "tmp/seal-report.db", "tmp/old-letters", "tmp/old-live", "tmp/backup/letters", "tmp/BACKUP", "tmp/shared.txt", "tmp/x.db.sha256.txt", "tmp/snapshots/holidays/1.jpg", "live/x.db.tmp", "live/2026.db.tmp"}
	ours := []string{"tmp/seal-2026-11-22.123.db", "tmp/seal-1.sort", "tmp/2026-11-22.db.sha256.77", "tmp/2026-11-22.2.db.sha256.77", "tmp/legacy-rollups.5.db-journal",
		"tmp/shared.12", "tmp/snapshot-123/days/x", "tmp/reserve", "live/2026-11-22.3.db.tmp", "live/2026-11-22.3.db.tmp-journal", "live/parked.4.db.tmp"}
	put := func(names []string) {
		t.Helper()
		for _, name := range names {
			path := filepath.Join(o.Dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(others)
	for range 2 {
		put(ours)
		db, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range ours {
			if exists(filepath.Join(o.Dir, name)) {
				t.Errorf("%s is still there", name)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range others {
			if b, err := os.ReadFile(filepath.Join(o.Dir, name)); err != nil || string(b) != name {
				t.Errorf("%s: %q %v", name, b, err)
			}
		}
	}
}

// Who copies the files of a stopped daemon has its rows without any -wal, also when a
// reader was the last to use them.
func TestStopEmptiesLogsOfLiveFiles(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	db := start(t, o)
	for _, id := range []string{"a", "b"} {
		mustAppend(t, db, finished(id, noon))
	}
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	p, err := db.Select(context.Background(), Query{Limit: 10, Filter: task.Filter{States: []task.State{task.StateSuccess}}})
	if err != nil || len(p.Invocations) != 2 {
		t.Fatal(p, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	live, err := filepath.Glob(filepath.Join(o.Dir, "live", "*"))
	if err != nil || len(live) == 0 {
		t.Fatal(live, err)
	}
	for _, path := range live {
		if filepath.Ext(path) != ".db" {
			t.Errorf("%s is left", filepath.Base(path))
		}
	}
}
