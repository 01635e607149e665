package wal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGroupCommit holds the first fsync until everybody else is enqueued: one more is enough for
// all of them. Meanwhile nothing else blocks.
func TestGroupCommit(t *testing.T) {
	const writers = 50
	fsys := newMemFS()
	l := started(t, testDir, Options{FS: fsys})
	if err := l.Wait(l.Enqueue([]byte("opens the segment"))); err != nil {
		t.Fatal(err)
	}
	inSync, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fsys.hook = func(op, path string) {
		if op == "sync" {
			once.Do(func() { close(inSync); <-goOn })
		}
	}
	before := fsys.count["sync"]
	var wg sync.WaitGroup
	first := l.Enqueue([]byte("first"))
	wg.Go(func() {
		if err := l.Wait(first); err != nil {
			t.Error(err)
		}
	})
	<-inSync
	for range writers {
		ticket := l.Enqueue([]byte("follower")) // would deadlock if it waited for the fsync
		wg.Go(func() {
			if err := l.Wait(ticket); err != nil {
				t.Error(err)
			}
		})
	}
	if got := l.PendingBytes(); got != 5+8*writers+(writers+1)*frameOverhead {
		t.Errorf("%d bytes pending", got)
	}
	if l.Segments() != 1 || l.Bytes() == 0 {
		t.Error("segments")
	}
	close(goOn)
	wg.Wait()
	if got := fsys.count["sync"] - before; got != 2 {
		t.Errorf("%d fsyncs", got)
	}
	if l.PendingBytes() != 0 {
		t.Error("something is pending")
	}
}

// TestFailedBatchIsShared: all of a failed batch are told, those after it are not affected.
func TestFailedBatchIsShared(t *testing.T) {
	fsys := newMemFS()
	l := started(t, testDir, Options{FS: fsys})
	a, b := l.Enqueue([]byte("a")), l.Enqueue([]byte("b"))
	fsys.always = "sync"
	errB := l.Wait(b)
	fsys.always = ""
	c := l.Enqueue([]byte("c"))
	if errC, errA := l.Wait(c), l.Wait(a); errB == nil || errA != errB || errC != nil {
		t.Fatal(errA, errB, errC)
	}
}

// TestConcurrent lets everybody work at once, on the real file system.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	l := started(t, dir, Options{SegmentBytes: 4 << 10, Sync: SyncInterval, SyncInterval: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	var bg, wg sync.WaitGroup
	bg.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var mu sync.Mutex // the head's
	var memory, acked []string
	const writers, each = 8, 60
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				rec := strings.Repeat(string(rune('a'+w)), i+1)
				mu.Lock()
				memory = append(memory, rec)
				ticket := l.Enqueue([]byte(rec))
				mu.Unlock()
				if err := l.Wait(ticket); err != nil {
					t.Error(err)
				}
				mu.Lock()
				acked = append(acked, rec)
				mu.Unlock()
			}
		})
	}
	checkpoint := func(emit func([]byte) error) error {
		mu.Lock()
		snapshot := slices.Clone(memory)
		mu.Unlock()
		for _, rec := range snapshot {
			if err := emit([]byte(rec)); err != nil {
				return err
			}
		}
		return nil
	}
	for range 2 {
		wg.Go(func() {
			for range 10 {
				if err := l.Checkpoint(checkpoint); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 { // and two who only look
		wg.Go(func() {
			for range 10 {
				mu.Lock()
				want := slices.Clone(acked)
				mu.Unlock()
				seen := map[string]bool{}
				st, err := Read(dir, func() { clear(seen) }, func(rec []byte) error { seen[string(rec)] = true; return nil })
				for errors.Is(err, errVanished) { // where fsync costs nothing checkpoints may be quicker than ten attempts
					clear(seen)
					st, err = Read(dir, func() { clear(seen) }, func(rec []byte) error { seen[string(rec)] = true; return nil })
				}
				if err != nil || len(st.Corruptions) > 0 {
					t.Error(err, st.Corruptions)
				}
				for _, rec := range want {
					if !seen[rec] {
						t.Errorf("%q is not seen", rec)
					}
				}
			}
		})
	}
	wg.Wait()
	cancel()
	bg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	if _, err := Read(dir, nil, func(rec []byte) error { seen[string(rec)] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != writers*each {
		t.Fatalf("%d records of %d", len(seen), writers*each)
	}
}

// TestRun: the interval policy acknowledges at once and fsyncs later.
func TestRun(t *testing.T) {
	fsys := newMemFS()
	synced := make(chan struct{}, 100)
	l := started(t, testDir, Options{FS: fsys, Sync: SyncInterval, SyncInterval: time.Millisecond,
		OnSync: func(time.Duration) { synced <- struct{}{} }})
	if err := l.Wait(l.Enqueue([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if len(synced) != 0 {
		t.Fatal("fsynced without Run")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	<-synced
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l = started(t, testDir+"2", Options{FS: newMemFS()})
	if err := l.Run(ctx); err != nil { // the other policies only wait
		t.Fatal(err)
	}
}

// TestCloseEndsCheckpoint: Close waits for a checkpoint, which notices.
func TestCloseEndsCheckpoint(t *testing.T) {
	fsys := newMemFS()
	l := started(t, testDir, Options{FS: fsys})
	closed, begun := make(chan error, 1), make(chan struct{})
	go func() {
		<-begun
		closed <- l.Close()
	}()
	err := l.Checkpoint(func(emit func([]byte) error) error {
		close(begun)
		for { // until Close is noticed
			if err := emit(make([]byte, emitBytes)); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(fsys.names(), func(n string) bool { return strings.Contains(n, checkpointPrefix) }) {
		t.Fatal(fsys)
	}
}
