package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Who removes or replaces LOCK, as a restore into the directory of a daemon that runs
// does, lets nobody in, neither a daemon nor a backup; health tells of it.
func TestLockIsRemoved(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	src, o := testOptions(t.TempDir(), c), testOptions(t.TempDir(), c)
	if err := start(t, src).Close(); err != nil {
		t.Fatal(err)
	}
	bo := BackupOptions{Dir: src.Dir, Dest: o.Dir, Now: c.now}
	if _, err := Backup(context.Background(), bo); err != nil {
		t.Fatal(err)
	}
	db := start(t, o)
	defer func() { db.Close() }()
	lock := filepath.Join(o.Dir, "LOCK")
	shut := func() {
		t.Helper()
		if _, err := Open(o); !errors.Is(err, ErrLocked) || strings.Contains(err.Error(), "process") {
			t.Errorf("a second daemon: %v", err)
		}
		if _, err := Backup(context.Background(), bo); err == nil || !strings.Contains(err.Error(), "a daemon serves it") {
			t.Errorf("a backup into its directory: %v", err)
		}
	}
	db.spaceRound(context.Background())
	ails(t, db, true)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	shut()
	if exists(lock) {
		t.Error("who is refused has made another LOCK")
	}
	db.spaceRound(context.Background())
	ails(t, db, true, lock, "removed")
	if err := os.WriteFile(lock, fmt.Appendf(nil, "%-20d\n", os.Getppid()), 0o644); err != nil {
		t.Fatal(err)
	}
	shut()
	db.spaceRound(context.Background())
	ails(t, db, true, lock, "replaced")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	db.spaceRound(context.Background())
	if reasons := db.Health().Reasons; slices.ContainsFunc(reasons, func(s string) bool { return strings.Contains(s, "LOCK") }) {
		t.Errorf("after a restart: %q", reasons)
	}
}

// An older version, which locks LOCK alone, and this one keep each other out.
func TestLockOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	old, err := os.Create(filepath.Join(o.Dir, "LOCK"))
	if err == nil {
		err = flock(old, syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrLocked) {
		t.Fatalf("while an older one runs: %v", err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	db := start(t, o)
	defer db.Close()
	if old, err = os.OpenFile(filepath.Join(o.Dir, "LOCK"), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := flock(old, syscall.LOCK_EX); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Fatalf("an older one beside it: %v", err)
	}
}

func TestLockedAndReadOnly(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer db.Close()
	if _, err := Open(o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("a second daemon: %v", err)
	}
	mustAppend(t, db, finished("cut", noon.Add(-24*time.Hour)), finished("sealed", noon.Add(-48*time.Hour)))
	ctx := context.Background()
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("live", noon))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("head", noon), started("open", noon))
	beside, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	for _, id := range []string{"cut", "sealed", "live", "head", "open"} {
		if _, err := beside.Get(ctx, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := beside.Append(ctx, []Record{finished("x", noon)}); !errors.Is(err, ErrReadOnly) {
		t.Fatal(err)
	}
	var found []Finding
	if err := beside.Verify(ctx, nil, func(f Finding) { found = append(found, f) }); err != nil || len(found) > 0 {
		t.Fatalf("%v %+v", err, found)
	}
}
