package tsdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// Without a file descriptor to look a task_id up with, an event is refused: taken
// without its stored row, it would be a second row of the same invocation.
func TestNoDescriptorLeft(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	want := contents(t, db)
	db.crash(t)
	db = start(t, o)
	defer db.Close()
	mustAppend(t, db, finished("warm", noon)) // the log's file is open

	later := finished("s1", noon)
	enough := starve(t, 0)
	_, refused := db.Append(context.Background(), []Record{later})
	enough()
	if refused == nil {
		t.Error("it was taken")
	}
	if _, err := db.Append(context.Background(), []Record{finished("s1", noon)}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	got := contents(t, db)
	if n := len(got["s1"].Transitions); n != len(want["s1"].Transitions)+1 {
		t.Errorf("%d transitions after another event, had %d", n, len(want["s1"].Transitions))
	}
	if found := findings(t, db); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// A day is not left out at the start because there was no descriptor for it.
func TestStartWithoutDescriptors(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	store(t, o, c).crash(t)
	refused := 0
	for left, started := 0, 0; started < 5; left++ {
		enough := starve(t, left)
		db, err := Open(o)
		enough()
		if err != nil {
			refused++
			continue
		}
		started++
		if left := db.compact.Unreadable(); len(left) > 0 {
			t.Errorf("left out: %v", left)
		}
		db.crash(t)
	}
	if refused < 10 {
		t.Errorf("only %d starts were short of descriptors", refused)
	}
}

// starve takes all file descriptors but some until the function is called that
// it returns. A test beside it would be short of them, too: in one that is
// parallel it panics.
func starve(t *testing.T, left int) (enough func()) {
	t.Helper()
	t.Setenv("DAYBOOK_TEST_STARVED", "yes") // refuses parallel tests
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	highest := 0
	for _, e := range open {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			highest = max(highest, n)
		}
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	least := syscall.Rlimit{Cur: uint64(highest + left), Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &least); err != nil {
		t.Fatal(err)
	}
	var held []*os.File // what is free below the highest one
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		held = append(held, f)
	}
	for range min(left, len(held)) {
		held[0].Close()
		held = held[1:]
	}
	return func() {
		t.Helper()
		err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		for _, f := range held {
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A cut keeps back the rows that a file may hold which there is no descriptor
// for, and no others.
func TestCutWithoutDescriptors(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer db.Close()
	ctx := context.Background()
	// The day of s1 gets a new file, which nobody has open, while s1 is in the
	// head; that of today is open.
	cut := func() {
		t.Helper()
		c.add(time.Hour)
		mustAppend(t, db, finished("s1", c.now())) // not settled
		if _, err := db.compact.Cut(ctx, db.cuttable(), false, true); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, db, started("again", noon.Add(-49*time.Hour)))
	cut()
	want := contents(t, db)
	if _, err := db.compact.Seal(ctx, true); err != nil {
		t.Fatal(err)
	}
	db.compact.Settle() // the old file is let go of: no descriptor comes back later
	mustAppend(t, db, finished("early", c.now()))
	cut()
	mustAppend(t, db, finished("s0", c.now()), finished("fresh", c.now())) // s0 has a row, too
	enough := starve(t, 0)
	_, err := db.Cut(ctx, false)
	enough()
	if err == nil {
		t.Error("s1 was cut")
	}
	snap := db.head.Snapshot()
	if !snap.Holds("s1") || snap.Holds("s0") || snap.Holds("fresh") {
		t.Errorf("the head holds s1: %v, s0: %v, fresh: %v; %v", snap.Holds("s1"), snap.Holds("s0"), snap.Holds("fresh"), err)
	}
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, db); len(got) != len(want)+2 || len(got["s1"].Transitions) != len(want["s1"].Transitions)+1 {
		t.Errorf("%d rows, %d before", len(got), len(want))
	}
	if found := findings(t, db); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// A file that may not be read, or is not one any more, is not waited for:
// events are taken and cut without what it has.
func TestFileThatStaysClosed(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	db.crash(t)
	db = start(t, o)
	defer db.crash(t)
	ctx := context.Background()
	var path string
	for _, b := range db.blocks() {
		if b.Kind == KindDay && b.Day == task.DayOf(noon.Add(-48*time.Hour).UnixMicro()).String() {
			path = filepath.Join(o.Dir, b.Path)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Base(path), path); err != nil { // a loop: no user can open it
		t.Fatal(err)
	}
	mustAppend(t, db, finished("s1", noon), finished("fresh", noon))
	if _, err := db.Get(ctx, "s1"); err != nil {
		t.Error(err)
	}
	if _, err := db.Get(ctx, "s4"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := db.Cut(ctx, false); err != nil {
		t.Error(err)
	}
	if snap := db.head.Snapshot(); snap.Holds("s1") || snap.Holds("fresh") {
		t.Error("they are still in the head")
	}
}
