package compact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-kit/log"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// A seal is put off, and leaves nothing behind, when more rows wait for its day than the
// head has room for; the day is cut into again, and sealed when there is room.
func TestCrowdedSealIsPutOff(t *testing.T) {
	ctx := context.Background()
	day := theDay("2026-11-22")
	dir := t.TempDir()
	if err := MkdirAll(filepath.Join(dir, "live")); err != nil {
		t.Fatal(err)
	}
	l, err := blocks.CreateLive(filepath.Join(dir, "live"), day, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := blocks.Batch{Cut: 1}
	for i := range int64(1000) {
		e := task.Event{TaskID: fmt.Sprint(i), State: task.StateSuccess, At: day.Start() + i, Retries: task.RetriesUnknown}
		v := e.Invocation()
		b.Put = append(b.Put, blocks.Put{Inv: &v})
	}
	if err := errors.Join(l.Apply(ctx, b), l.Close()); err != nil {
		t.Fatal(err)
	}
	pool := blocks.NewPool(blocks.PoolOptions{Conns: 1})
	defer pool.Close()
	crowded := true
	var asked int64
	c, err := Open(Options{Dir: dir, Logger: log.NewNopLogger(), Catalog: blocks.NewCatalog(pool), Now: func() time.Time { return time.UnixMicro((day + 1).Start()).Add(12 * time.Hour) },
		Crowds: func(n int64) bool { asked = n; return crowded }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	c.waiting.Store(maxWaiting)
	sealed := func() int {
		found, err := filepath.Glob(filepath.Join(dir, "days", "2026-11-22*.db"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	for _, waiting := range []int64{maxWaiting + 1, maxWaiting + 2} {
		c.waiting.Store(waiting)
		if done, err := c.sealDay(ctx, day); done || !errors.Is(err, errCrowded) {
			t.Fatalf("sealed: %v %v", done, err)
		}
		if asked != waiting {
			t.Errorf("asked whether %d rows are too many, %d wait", asked, waiting)
		}
		left, err := os.ReadDir(filepath.Join(dir, "tmp"))
		if err != nil || len(left) > 0 || sealed() > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
		if !c.mayCut(day, nil) {
			t.Error("its rows go on waiting")
		}
	}
	crowded = false
	if done, err := c.sealDay(ctx, day); !done || err != nil || sealed() != 1 {
		t.Errorf("with room: %v %v", done, err)
	}
}
