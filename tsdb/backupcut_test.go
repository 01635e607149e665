package tsdb

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A backup that is made in the middle of a cut, after the day's transaction and
// before what it supersedes is deleted, has each invocation once, although its
// log, which was copied before, does not know of them.
func TestBackupInTheMiddleOfACut(t *testing.T) {
	t.Parallel()
	dest, o, want, inTheMiddle := middleOfACut(t)
	ctx := context.Background()
	sameContents(t, "beside the daemon", inTheMiddle, want)
	sameContents(t, "read-only", opened(t, dest, o), want)
	copied := filepath.Join(t.TempDir(), "copy")
	copyTree(t, dest, copied)
	o.Dir = copied
	own := start(t, o)
	sameContents(t, "served", contents(t, own), want)
	sums, _, err := own.Tasks(ctx, 0, own.now()+24*3600*1_000_000, "")
	if err != nil || len(sums) != 1 || sums[0].Total != 3 || sums[0].Active != 1 {
		t.Errorf("served, summaries are %+v: %v", sums, err)
	}
	if n := own.compact.Parked().Rows(); n != 1 {
		t.Errorf("%d are parked", n)
	}
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	sameContents(t, "and read again", opened(t, copied, o), want)
}

// middleOfACut makes such a backup. want is what the daemon has in the end,
// beside what a reader beside it saw in the middle.
func middleOfACut(t *testing.T) (dest string, o Options, want, beside map[string]task.Invocation) {
	t.Helper()
	c := &testClock{at: noon}
	o = testOptions(t.TempDir(), c)
	ctx := context.Background()
	reached, goOn := make(chan struct{}), make(chan struct{})
	var armed bool
	o.step = func(string) error {
		if armed {
			armed = false
			close(reached)
			<-goOn
		}
		return nil
	}
	db := start(t, o)
	defer db.Close()
	retry := started("parked", noon)
	retry.Invocation.State = task.StateRetry
	mustAppend(t, db, retry, started("stays parked", noon), finished("moves", noon.Add(-24*time.Hour)))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	if n, err := db.compact.Park(ctx, db.cuttable(), 2, true); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	bo := BackupOptions{Dir: o.Dir, Dest: t.TempDir(), Now: c.now}
	d, err := openDest(bo.Dest, bo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var cutting sync.WaitGroup
	d.logged = func() {
		mustAppend(t, db, finished("parked", noon.Add(time.Second)), finished("moves", noon.Add(time.Second)))
		armed = true
		cutting.Go(func() {
			if _, err := db.Cut(ctx, false); err != nil {
				t.Error(err)
			}
		})
		<-reached
	}
	_, err = backupOnce(ctx, bo, d)
	o.step = nil
	beside = opened(t, o.Dir, o)
	close(goOn)
	cutting.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	want = contents(t, db)
	if len(want) != 3 || want["parked"].State != task.StateSuccess {
		t.Fatalf("%+v", want)
	}
	return bo.Dest, o, want, beside
}
