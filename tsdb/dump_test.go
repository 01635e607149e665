package tsdb

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"daybook/tsdb/task"
)

// What is dumped of several targets is in ascending order, in whatever order they are
// given: days, files, and files from elsewhere.
func TestDumpIsAscending(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer db.Close()
	days := filepath.Join(o.Dir, "days")
	path := func(day string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(days, day+"*.db"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found[0]
	}
	elsewhere := filepath.Join(t.TempDir(), "2026-11-20.db")
	if err := os.Link(path("2026-11-20"), elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, targets := range [][]string{
		{path("2026-11-22"), path("2026-11-21"), elsewhere},
		{"2026-11-22", path("2026-11-21"), "2026-11-20"},
		{"2026-11-23", "2026-11-21", elsewhere, path("2026-11-22")},
	} {
		var last task.Key
		n := 0
		err := db.Dump(context.Background(), targets, Query{}, func(v *task.Invocation) error {
			if k := v.Key(); n > 0 && k.Compare(last) <= 0 {
				t.Errorf("%v: %s comes behind what is later", targets, v.TaskID)
			}
			last = v.Key()
			n++
			return nil
		})
		if err != nil || n < 15 {
			t.Errorf("%v: %d, %v", targets, n, err)
		}
	}
}

// Rows of a live file can be had from the file, wherever it is: of one that is
// left out, because its day has another, with what overlies nothing any more.
func TestDumpOfALiveFile(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	want := map[string]bool{}
	for id, v := range contents(t, db) {
		if v.Day() == task.DayOf(noon.UnixMicro()) && id != "parked" && id != "open" { // those are in another file
			want[id] = true
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	live, err := filepath.Glob(filepath.Join(o.Dir, "live", "2026-11-23.*.db"))
	if err != nil || len(live) != 1 {
		t.Fatal(live, err)
	}
	beside := filepath.Join(t.TempDir(), filepath.Base(live[0]))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(live[0]+suffix, beside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	got := map[string]bool{}
	err = DumpFiles(context.Background(), []string{beside, beside}, Query{Details: true}, func(v *task.Invocation) error {
		if got[v.TaskID] {
			t.Errorf("%s twice", v.TaskID)
		}
		got[v.TaskID] = true
		return nil
	})
	if err != nil || len(want) == 0 || !maps.Equal(got, want) {
		t.Errorf("%v, want %v: %v", got, want, err)
	}
}
