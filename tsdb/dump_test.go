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
