package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// handOver puts a fixture under legacy/ of a data directory.
func handOver(t *testing.T, dir, name string) string {
	t.Helper()
	home := filepath.Join(dir, "legacy")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	return fixture(t, name, home)
}

// A legacy file in which somebody has written since it was attached, or in whose
// place there is another one, does not leave by what it held then: it is only
// detached, and told until it is attached again or taken away.
func TestLegacyThatHasChangedIsKept(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	touch := func(t *testing.T, path string) {
		fi, err := os.Stat(path)
		if err == nil {
			err = os.Chtimes(path, time.Time{}, fi.ModTime().Add(time.Second))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace := func(t *testing.T, path string) {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		other := fixture(t, filepath.Base(path), t.TempDir())
		if err := os.Chtimes(other, time.Time{}, fi.ModTime()); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, path); err != nil {
			t.Fatal(err)
		}
	}
	appendWAL := func(t *testing.T, path string) {
		f, err := os.OpenFile(path+"-wal", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err == nil {
			_, err = f.WriteString("a frame")
		}
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, file string
		change     func(t *testing.T, path string) // nil: none
		elsewhere  bool
		bySize     bool
		told       bool
	}{
		{"unchanged", "gen1-small.db", nil, false, false, false},
		{"unchanged, with a -wal", "gen2-crash-small.db", nil, false, false, false},
		{"written", "gen1-small.db", touch, false, false, true},
		{"written, elsewhere", "gen1-small.db", touch, true, false, true},
		{"replaced", "gen1-small.db", replace, false, false, true},
		{"a new -wal", "gen1-small.db", appendWAL, false, false, true},
		{"a longer -wal", "gen2-crash-small.db", appendWAL, true, false, true},
		{"written, no room", "gen1-small.db", touch, false, true, true},
		{"replaced, no room", "gen1-small.db", replace, false, true, true},
		{"the file is gone, its -wal is not", "gen2-crash-small.db", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
			o := testOptions(t.TempDir(), clock)
			reg := prometheus.NewRegistry()
			o.RetentionTime, o.LegacyDelete, o.Metrics = 3*24*time.Hour, true, reg
			if c.bySize {
				o.RetentionTime, o.RetentionSize, o.DiskUsage = 0, 16<<20, 0
			}
			var path string
			if c.elsewhere {
				path = fixture(t, c.file, t.TempDir())
				o.Legacy = []string{path}
			} else {
				path = handOver(t, o.Dir, c.file)
			}
			db := start(t, o)
			defer func() { db.Close() }()
			if len(db.legacy.files) != 1 {
				t.Fatal("not attached")
			}
			if c.change != nil {
				c.change(t, path)
			}
			files := func() (names []string) {
				found, err := filepath.Glob(path + "*")
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range found {
					if f != path+"-shm" {
						names = append(names, filepath.Base(f))
					}
				}
				return names
			}
			want := files()
			clock.add(10 * 24 * time.Hour)
			if c.bySize {
				if _, err := retainOldest(t, db, 0); err != nil {
					t.Fatal(err)
				}
			} else if err := db.retainLegacies(); err != nil {
				t.Fatal(err)
			}
			if len(db.legacy.files) != 0 {
				t.Error("still attached")
			}
			deleted := 0.0
			if c.change == nil {
				want, deleted = nil, 1
			}
			if got := files(); !slices.Equal(got, want) {
				t.Errorf("there are %v, want %v", got, want)
			}
			if n := value(t, reg, "daybook_retention_deletions_total"); n != deleted && !c.bySize { // then days go, too
				t.Errorf("%v deletions are counted, want %v", n, deleted)
			}
			named := func() bool {
				page, err := db.Select(ctx, Query{Limit: 1})
				if err != nil {
					t.Fatal(err)
				}
				return slices.Contains(page.Coverage.Unreadable, c.file)
			}
			if named() != c.told {
				t.Errorf("named in coverage: %v", !c.told)
			}
			if !c.told {
				return
			}
			ails(t, db, true, path, "has changed since it was attached")
			if err := os.Remove(path); err != nil { // by whoever has been told
				t.Fatal(err)
			}
			if named() {
				t.Error("a file that is not there is named")
			}
		})
	}
}

// What could not be deleted at once is not deleted later if it has changed by then; that
// its -wal is gone already is no change.
func TestLegacyThatChangesBeforeItIsDeleted(t *testing.T) {
	t.Parallel()
	for _, changes := range []bool{false, true} {
		clock := &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
		o := testOptions(t.TempDir(), clock)
		o.RetentionTime = 3 * 24 * time.Hour
		path := handOver(t, o.Dir, "gen2-crash-small.db")
		db := start(t, o)
		defer db.Close()
		f := db.legacy.files[0]
		db.legacy.files = nil
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path + "-wal"); err != nil {
			t.Fatal(err)
		}
		db.legacy.left = []leftLegacy{{legacyFile: f, cause: "age", unlogged: true}}
		if changes {
			if err := os.WriteFile(path+"-wal", []byte("of another program"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.deleteLeft(); err != nil {
			t.Fatal(err)
		}
		if exists(path) != changes || exists(path+"-wal") != changes {
			t.Errorf("it has changed: %v; it is there: %v, its -wal: %v", changes, exists(path), exists(path+"-wal"))
		}
		if len(db.legacy.left) != 0 {
			t.Error("it is tried again")
		}
	}
}
