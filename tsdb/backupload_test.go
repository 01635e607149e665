package tsdb

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// Snapshots and backups are made while invocations come, change, move between
// days and are cut, sealed and sealed again. Every copy has all that was
// acknowledged before it began, once, and in no older state.
//
// What is cut at once moves between days while they are taken hold of; what
// stays in the head for a while leaves the log while the days are.
func TestCopiesUnderLoad(t *testing.T) {
	t.Parallel()
	for _, settle := range []time.Duration{0, 40 * time.Millisecond} {
		t.Run(settle.String(), func(t *testing.T) { copiesUnderLoad(t, settle) })
	}
}

func copiesUnderLoad(t *testing.T, settle time.Duration) {
	o := DefaultOptions()
	o.Dir, o.HeadMaxRecords, o.CutInterval, o.Settle, o.SealDelay = t.TempDir(), 300, 10*time.Millisecond, settle, 0
	o.WALSync, o.WALMaxBytes = "never", 1 // a checkpoint after every cut: the log forgets as fast as it can
	db := running(t, o)
	ctx := context.Background()
	const ids, writers = 400, 2
	var mu sync.Mutex
	acked := map[string]task.Invocation{}
	sent := map[string]task.Invocation{}
	stop := make(chan struct{})
	var load sync.WaitGroup
	defer func() {
		close(stop)
		load.Wait()
	}()
	for w := range writers {
		load.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				// Rows move to later days, and from REVOKED to earlier ones.
				n := r.IntN(ids)
				e := task.Event{TaskID: fmt.Sprintf("w%d-%d", w, n), State: []task.State{task.StateRetry, task.StateRevoked, task.StateFailure, task.StateSuccess}[r.IntN(4)],
					At: time.Now().Add(-time.Duration(r.IntN(4)) * 24 * time.Hour).UnixMicro(), Worker: "w@h", TaskName: "t", Result: strings.Repeat("r", r.IntN(300)), Retries: task.RetriesUnknown}
				rec := Record{Invocation: e.Invocation()}
				mu.Lock()
				sent[e.TaskID] = task.Merge(sent[e.TaskID], rec.Invocation)
				mu.Unlock()
				whole := rec.Invocation
				if out, err := db.Append(ctx, []Record{rec}); err != nil || len(out.Refused)+out.Dropped > 0 {
					t.Errorf("append: %+v %v", out, err)
					return
				}
				mu.Lock()
				acked[e.TaskID] = task.Merge(acked[e.TaskID], whole)
				mu.Unlock()
			}
		})
	}
	load.Go(func() {
		for {
			// From the end of one to the beginning of the next: on a machine so slow that
			// seals follow each other there is no moment for a backup.
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
			if _, err := db.Cut(ctx, true); err != nil {
				t.Errorf("cut: %v", err)
				return
			}
		}
	})
	until(t, "an invocation is acknowledged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(acked) > 0
	})
	dest := t.TempDir()
	began, long := time.Now(), 3*time.Second
	if testing.Short() {
		long = time.Second
	}
	for i := 0; i < 20 && (i < 4 || time.Since(began) < long); i++ {
		mu.Lock()
		before := maps.Clone(acked)
		mu.Unlock()
		dir, how := dest, "backup"
		if i%2 == 0 {
			how = "snapshot"
			s, err := db.Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			dir = filepath.Join(o.Dir, s.Path)
		} else if res, err := Backup(ctx, BackupOptions{Dir: o.Dir, Dest: dest}); err != nil || len(res.Problems) > 0 {
			t.Fatalf("%+v %v", res, err)
		}
		mu.Lock()
		after := maps.Clone(sent)
		mu.Unlock()
		got := shown(t, dir, o, i%8 < 2)
		if i%10 == 0 {
			copied := t.TempDir()
			copyTree(t, dir, copied)
			sameContents(t, "served", served(t, copied, o), got)
		}
		for id, b := range before {
			g, ok := got[id]
			// It has what was acknowledged, and nothing that was not sent.
			if !ok || !sameKnowledge(task.Merge(g, b), g) || !sameKnowledge(task.Merge(after[id], g), after[id]) {
				t.Fatalf("%s %d: %s is %v %+v, acknowledged were %+v, sent %+v", how, i, id, ok, g, b, after[id])
			}
		}
	}
}
