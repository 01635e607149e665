package tsdb

import (
	"context"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// TestGapsBeforeItIsReady: a broker that is lost while the log is replayed is
// told once, and not again when it is back.
func TestGapsBeforeItIsReady(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	db, err := Open(testOptions(t.TempDir(), c))
	if err != nil {
		t.Fatal(err)
	}
	want := task.Gap{Source: "s", Cause: "broker lost", From: noon.UnixMicro() - 5, To: noon.UnixMicro()}
	db.AddGap(want)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	until(t, "it is ready", func() bool { return db.Ready().Ready })
	until(t, "the gap is there", func() bool {
		gaps := db.gaps(0, 0)
		return len(gaps) == 1 && gaps[0] == want
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLeave: what comes after the consumers stopped is missing, however long
// storing what is there takes.
func TestLeave(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	db.Leave()
	c.add(50 * time.Second)
	db.spaceRound(context.Background())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	defer db.Close()
	if !db.LastSeen().Equal(noon) {
		t.Fatalf("last seen at %s, want %s", db.LastSeen(), noon)
	}
}
