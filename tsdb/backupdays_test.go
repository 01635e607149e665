package tsdb

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// cpDays copies days/ as cp -r does: the names first, then file by file.
// vanished are those that were gone by then, which cp complains about.
func cpDays(t *testing.T, from, to string) (vanished int) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			vanished++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	return vanished
}

// sums wants every copied file to be what the checksum beside it says, and
// every checksum to have its file unless one vanished.
func sums(t *testing.T, dir string, vanished int) (files []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		db, isSum := strings.CutSuffix(name, ".sha256")
		if !isSum {
			files = append(files, name)
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(db)
		if errors.Is(err, fs.ErrNotExist) && vanished > 0 {
			continue
		}
		if want := fmt.Sprintf("%x  %s\n", sha256.Sum256(b), filepath.Base(db)); err != nil || string(text) != want {
			t.Errorf("%s: %q, want %q, %v", filepath.Base(name), text, want, err)
		}
	}
	return files
}

// checkDays wants a copy to show each id once, in the newest state that any of
// its days has. What has left a day for one that is not sealed yet is in
// neither: that is what live files are for.
func checkDays(t *testing.T, dir string, files []string, o Options) {
	t.Helper()
	shown := opened(t, dir, o)
	o.Dir = dir
	db, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	best := map[task.Day]string{}
	for _, name := range files { // 2026-11-22.10.db is the newest generation, and not the last name
		d, gen, _ := blocks.ParseSealedName(filepath.Base(name))
		if _, other, _ := blocks.ParseSealedName(filepath.Base(best[d])); gen > other {
			best[d] = name
		}
	}
	err = db.Dump(context.Background(), slices.Collect(maps.Values(best)), Query{Details: true}, func(v *task.Invocation) error {
		if s := shown[v.TaskID]; !sameKnowledge(task.Merge(*v, s), s) {
			t.Errorf("%s is shown as %+v, and a file has %+v", v.TaskID, s, v)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A copy of days/ is valid at any instant, while days are cut, sealed, sealed
// again and deleted, and rows move from one to another.
func TestCopiesOfDays(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.Settle, o.WALSync, o.RetentionTime, o.SealDelay = 0, "never", 4*24*time.Hour, 0
	db := start(t, o)
	defer db.Close()
	ctx := context.Background()
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			var recs []Record
			for range 40 {
				e := task.Event{TaskID: fmt.Sprint("id-", r.IntN(400)), State: []task.State{task.StateRetry, task.StateFailure, task.StateSuccess}[r.IntN(3)],
					At: c.now().Add(-time.Duration(r.Int64N(int64(3*24) * int64(time.Hour)))).UnixMicro(), Result: strings.Repeat("x", r.IntN(200)), Retries: task.RetriesUnknown}
				recs = append(recs, Record{Invocation: e.Invocation()})
			}
			_, err := db.Append(ctx, recs)
			if err == nil {
				_, err = db.Cut(ctx, n%3 == 0)
			}
			if err == nil && n%5 == 0 {
				c.add(30 * time.Minute)
				_, err = db.compact.Retain(ctx, db.cuttable())
			}
			if err != nil {
				t.Errorf("round %d: %v", n, err)
				return
			}
		}
	})
	defer func() {
		close(stop)
		load.Wait()
	}()
	until(t, "something is sealed", func() bool { return dayNames(t, o.Dir) != "" })
	seen := map[string]bool{}
	for i := 0; i < 25 || len(seen) < 10; i++ {
		copied := filepath.Join(t.TempDir(), "copy")
		days := copied // with days/ around the files, and without
		if i%2 == 0 {
			days = filepath.Join(copied, "days")
		}
		vanished := cpDays(t, filepath.Join(o.Dir, "days"), days)
		files := sums(t, days, vanished)
		for _, name := range files {
			seen[filepath.Base(name)] = true
		}
		if len(files) > 0 {
			checkDays(t, copied, files, o)
		}
		if t.Failed() {
			t.Fatalf("copy %d, with %d vanished: %s", i, vanished, strings.Join(files, " "))
		}
	}
}

// Among copied days a row that has moved on is counted once, like it is shown
// once, although the copy has the file that it left.
func TestMovedIsCountedOnceInCopies(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer db.Close()
	copied := t.TempDir()
	for _, ago := range []time.Duration{3, 2} {
		mustAppend(t, db, finished("moves", noon.Add(-ago*24*time.Hour)), finished(fmt.Sprint("stays", ago), noon.Add(-3*24*time.Hour)))
		if _, err := db.Cut(context.Background(), true); err != nil {
			t.Fatal(err)
		}
		cpDays(t, filepath.Join(o.Dir, "days"), copied)
		if ago == 3 {
			if err := os.Rename(filepath.Join(copied, "2026-11-20.db"), filepath.Join(copied, "old")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, gone := range []string{"2026-11-20.2.db", "2026-11-20.2.db.sha256"} { // the day's next generation, without the row
		if err := os.Remove(filepath.Join(copied, gone)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(copied, "old"), filepath.Join(copied, "2026-11-20.db")); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, copied, o, false); len(got) != 2 { // moves and stays3
		t.Errorf("%v", got)
	}
}
