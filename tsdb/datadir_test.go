package tsdb

import (
	"os"
	"path/filepath"
	"testing"
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
