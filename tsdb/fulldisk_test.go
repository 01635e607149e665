package tsdb

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fillDisk leaves no byte of a file system free.
func fillDisk(t testing.TB, dir string) (filler string) {
	t.Helper()
	f, err := os.CreateTemp(dir, "somebody-elses")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = io.Copy(f, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return f.Name()
}

// zeros is as many of them as anybody reads.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A daemon that was stopped starts again when the disk has become full meanwhile, or was
// full before, shows everything, and deletes what is past retention.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	for _, full := range []string{"after the stop", "before the stop"} {
		t.Run(full, func(t *testing.T) {
			c := &testClock{at: noon}
			o := testOptions(smallDisk(t, "32m"), c)
			o.RetentionTime, o.DiskUsage = 48*time.Hour, 0
			db := start(t, o)
			ctx := context.Background()
			fill(t, db, noon.Add(-24*time.Hour), 2000)
			if _, err := db.Cut(ctx, true); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, db, finished("a", noon), started("b", noon))
			if full == "before the stop" {
				if _, err := db.Cut(ctx, false); err != nil {
					t.Fatal(err)
				}
				fillDisk(t, o.Dir)
			}
			if err := db.Close(); err != nil {
				t.Log(err) // what is not cut is in the log
			}
			if full == "after the stop" {
				fillDisk(t, o.Dir)
			}
			for range 2 { // the second time after a start and a stop on the full disk
				db = start(t, o)
				if un := db.compact.Unreadable(); len(un) > 0 {
					t.Errorf("left out: %v", un)
				}
				for _, id := range []string{"a", "b"} {
					if _, err := db.Get(ctx, id); err != nil {
						t.Errorf("%s: %v", id, err)
					}
				}
				if err := db.Close(); err != nil {
					t.Log(err)
				}
			}
			c.add(72 * time.Hour)
			db = start(t, o)
			defer func() { db.Close() }()
			db.retainRound(ctx) // the clock has jumped: nothing goes for an hour
			c.add(30 * time.Minute)
			db.retainRound(ctx)
			c.add(31 * time.Minute)
			db.retainRound(ctx)
			if exists(filepath.Join(o.Dir, "days", "2026-11-22.db")) {
				t.Error("the expired day is still there")
			}
		})
	}
}

// Without room for what SQLite puts beside a live file, and with nothing to let go of,
// a start says how much is missing. No file is left out, and none is made in its place.
func TestStartWithoutRoom(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(smallDisk(t, "32m"), c)
	db := start(t, o)
	mustAppend(t, db, finished("a", noon), started("b", noon))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(o.Dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(o.Dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := names(t, filepath.Join(o.Dir, "live"))
	filler := fillDisk(t, o.Dir)
	for range 2 {
		_, err := Open(o)
		if err == nil || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "bytes are missing") || strings.Contains(err.Error(), "\n") {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if after := names(t, filepath.Join(o.Dir, "live")); after != before {
		t.Errorf("live/ was %s and is %s", before, after)
	}
	db = start(t, o)
	defer db.Close()
	if _, err := db.Get(context.Background(), "a"); err != nil {
		t.Error(err)
	}
}

// names lists the databases in a directory.
func names(t testing.TB, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(found, " ")
}
