package tsdb

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"
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
	least := syscall.Rlimit{Cur: uint64(highest), Max: limit.Max}
	later := finished("s1", noon)
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
	_, refused := db.Append(context.Background(), []Record{later})
	err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	for _, f := range held {
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
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
