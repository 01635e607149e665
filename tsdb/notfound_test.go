package tsdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// An invocation that is not found where a file cannot be read, or anything was
// deleted, is not one that there never was.
func TestNotFoundTellsWhatIsCovered(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 0
	old := fixture(t, "gen1-small.db", t.TempDir())
	o.Legacy = []string{old}
	db := store(t, o, c)
	ask := func(id, what string, unreadable ...string) {
		t.Helper()
		_, err := db.Get(ctx, id)
		_, flowErr := db.Workflow(ctx, id, MaxWorkflow)
		for call, err := range map[string]error{"get": err, "workflow": flowErr} {
			var missing *NotFoundError
			if !errors.As(err, &missing) || !errors.Is(err, ErrNotFound) {
				t.Fatalf("%s, %s: %v", call, what, err)
			}
			if got := missing.Coverage; !slices.Equal(got.Unreadable, unreadable) || got.Complete != (len(unreadable) == 0) {
				t.Errorf("%s, %s: complete %v, without %v", call, what, got.Complete, got.Unreadable)
			}
		}
	}
	ask("nobody", "all is well")
	lost := ""
	for id, v := range contents(t, db) {
		if v.Day() == task.DayOf(noon.UnixMicro())-3 && id != "late" { // that one lies over the sealed file
			lost = id
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	defer db.crash(t)
	files, err := filepath.Glob(filepath.Join(o.Dir, "days", "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	// Found out by the look-up, not at the start.
	if err := errors.Join(os.Remove(files[0]), os.Truncate(old, 8192)); err != nil {
		t.Fatal(err)
	}
	ask(lost, "two files are damaged", filepath.Base(files[0]), "gen1-small.db")
}
