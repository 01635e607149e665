package compact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// A capture beside a daemon notices when a live file is written after its
// transaction began, and when files come or go.
func TestCaptureDirNotices(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	for _, sub := range []string{"live", "days"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	day := theDay("2026-11-22")
	l, err := blocks.CreateLive(filepath.Join(dir, "live"), day, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listing, err := Listing(dir)
	if err != nil {
		t.Fatal(err)
	}
	k, err := CaptureDir(ctx, dir, listing, CaptureTo{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if name, err := k.written(ctx); name != "" || err != nil {
		t.Errorf("%q %v", name, err)
	}
	e := task.Event{TaskID: "x", State: task.StateSuccess, At: day.Start(), Retries: task.RetriesUnknown}
	inv := e.Invocation()
	if err := l.Apply(ctx, blocks.Batch{Cut: 1, Put: []blocks.Put{{Inv: &inv}}}); err != nil {
		t.Fatal(err)
	}
	if name, err := k.written(ctx); name != l.Name() || err != nil {
		t.Errorf("a commit is not noticed: %q %v", name, err)
	}
	if !k.Has(day) || k.Has(day+1) || len(k.Days()) != 0 || len(k.Unreadable()) != 0 {
		t.Errorf("%+v", k)
	}
	other, err := blocks.CreateLive(filepath.Join(dir, "live"), day+1, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := CaptureDir(ctx, dir, listing, CaptureTo{Dir: t.TempDir()}); !errors.Is(err, ErrMoved) {
		t.Errorf("a new file is not noticed: %v", err)
	}
}
