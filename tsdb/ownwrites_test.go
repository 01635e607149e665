package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A client reads its own acknowledged write, at once and from then on, by its id and
// by filter, whatever is being cut, moved, parked, sealed, deleted, checkpointed, copied.
// Each writer has its own tasks and knows exactly what they must look like.
func TestOwnWritesAreRead(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon.Add(12*time.Hour - 15*time.Minute)} // soon midnight
	o := testOptions(filepath.Join(t.TempDir(), "data"), c)
	o.HeadMaxRecords, o.CutInterval, o.Settle, o.SealDelay = 200, 10*time.Millisecond, 0, 0
	o.WALSync, o.RetentionTime, o.OpenTimeout = "never", 6*24*time.Hour, 1000*time.Hour
	db := running(t, o)
	aged := ageing(t, db)
	var deleted atomic.Bool
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fail := func(format string, args ...any) {
		if ctx.Err() == nil {
			t.Errorf(format, args...)
			cancel()
		}
	}
	steps := 120
	if testing.Short() {
		steps = 60
	}
	var writers, others sync.WaitGroup
	done := make(chan struct{})
	for w := range 3 {
		writers.Go(func() {
			k := ownTasks{r: rand.New(rand.NewPCG(uint64(w), 9)), name: fmt.Sprint("own", w), want: map[string]task.Invocation{}}
			for i := 0; (i < steps || i < 5*steps && !deleted.Load()) && ctx.Err() == nil; i++ {
				if err := k.step(ctx, db, c); err != nil {
					fail("writer %d, step %d, at %s: %v", w, i, c.now(), err)
				}
			}
		})
	}
	again := func(what string, fn func() error) {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := fn(); err != nil {
					fail("%s: %v", what, err)
					return
				}
			}
		})
	}
	again("cut and seal", func() error { _, err := db.Cut(ctx, true); return err })
	// A backup begins to read the log again when a checkpoint has taken it away, ten
	// times at most: fewer are written while one is made.
	var checkpoints atomic.Int32
	again("park and checkpoint", func() error {
		_, err := db.compact.Park(ctx, db.cuttable(), 20, true)
		if checkpoints.Add(1) <= 5 {
			err = errors.Join(err, db.head.Checkpoint())
		}
		return err
	})
	again("retention", func() error {
		if c.now().Before(noon.Add(20 * time.Hour)) {
			c.add(30 * time.Second) // over midnight
		}
		_, err := db.compact.Retain(ctx, db.cuttable())
		if !hasFile(db, aged) {
			deleted.Store(true)
		}
		return err
	})
	dest := filepath.Join(t.TempDir(), "backup")
	again("snapshot and backup", func() error {
		checkpoints.Store(0)
		_, err := db.Snapshot(ctx)
		if err == nil {
			_, err = Backup(ctx, BackupOptions{Dir: o.Dir, Dest: dest, Now: c.now})
		}
		return err
	})
	again("summaries", func() error {
		_, _, err := db.Tasks(ctx, 0, noon.Add(48*time.Hour).UnixMicro(), "")
		return err
	})
	writers.Wait()
	close(done)
	others.Wait()
	if !deleted.Load() && ctx.Err() == nil {
		t.Error("retention has deleted nothing meanwhile")
	}
}

// ageing stores nobody's rows in a day that ages out when the clock has passed
// midnight, so that retention deletes something beside the writers.
func ageing(t *testing.T, db *DB) (name string) {
	t.Helper()
	at := noon.Add(-6 * 24 * time.Hour)
	for i := range 50 {
		mustAppend(t, db, finished(fmt.Sprint("nobody's", i), at.Add(time.Duration(i)*time.Minute)))
	}
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	name = task.DayOf(at.UnixMicro()).String() + ".db"
	if !hasFile(db, name) {
		t.Fatalf("there is no %s", name)
	}
	return name
}

// hasFile reports whether a sealed file is in use.
func hasFile(db *DB, name string) bool {
	return slices.ContainsFunc(db.blocks(), func(b BlockInfo) bool { return filepath.Base(b.Path) == name })
}

// ownTasks are the tasks of one writer.
type ownTasks struct {
	r    *rand.Rand
	name string
	want map[string]task.Invocation
	old  []string
}

func (k *ownTasks) step(ctx context.Context, db *DB, c *testClock) error {
	id := fmt.Sprintf("%s-%d", k.name, len(k.old))
	if len(k.old) > 0 && k.r.IntN(2) == 0 {
		id = k.old[k.r.IntN(len(k.old))]
	} else {
		k.old = append(k.old, id)
	}
	e := task.Event{TaskID: id, TaskName: k.name, Worker: "w@h", Retries: task.RetriesUnknown, Args: "a",
		State: oneOf(k.r, task.StateReceived, task.StateStarted, task.StateRetry, task.StateSuccess, task.StateFailure),
		// Retention takes what is older than six days; that of five stays.
		At: c.now().Add(-time.Duration(k.r.Int64N(int64(oneOf(k.r, 5*24*time.Hour, time.Second))))).UnixMicro()}
	inv := e.Invocation()
	if _, err := db.Append(ctx, []Record{{Invocation: e.Invocation()}}); err != nil {
		return err
	}
	k.want[id] = task.Merge(k.want[id], inv)
	for _, id := range []string{id, k.old[k.r.IntN(len(k.old))]} {
		if err := k.read(ctx, db, id); err != nil {
			return err
		}
	}
	return nil
}

func (k *ownTasks) read(ctx context.Context, db *DB, id string) error {
	want := k.want[id]
	got, err := db.Get(ctx, id)
	if err != nil || !sameKnowledge(got, want) {
		return fmt.Errorf("get %s: %w\n got %s\nwant %s", id, err, task.AppendJSON(nil, &got), task.AppendJSON(nil, &want))
	}
	q := Query{Limit: 10, Details: true}
	q.TaskID, q.TaskNames, q.States = id, []string{k.name}, []task.State{want.State}
	page, err := db.Select(ctx, q)
	if err != nil || len(page.Invocations) != 1 || !sameKnowledge(page.Invocations[0], want) {
		return fmt.Errorf("select %s: %d found, %w\nwant %s", id, len(page.Invocations), err, task.AppendJSON(nil, &want))
	}
	return nil
}
