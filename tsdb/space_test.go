package tsdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"

	"daybook/tsdb/task"
)

// fill stores n finished invocations with details that do not compress, at a time.
func fill(t testing.TB, db *DB, at time.Time, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(at.Unix()), 1))
	var noise [300]byte
	recs := make([]Record, n)
	for i := range recs {
		for j := range noise {
			noise[j] = byte('!' + r.IntN(90))
		}
		e := task.Event{TaskID: fmt.Sprint(at.Unix(), "-", i), State: task.StateSuccess, At: at.UnixMicro() + int64(i), Result: string(noise[:]), Retries: task.RetriesUnknown}
		recs[i] = Record{Invocation: e.Invocation()}
	}
	mustAppend(t, db, recs...)
}

func dayNames(t testing.TB, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "days", "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = strings.TrimSuffix(filepath.Base(found[i]), ".db")
	}
	return strings.Join(found, " ")
}

// A legacy file that was handed over goes where its newest row stands among the
// days; one elsewhere stays, also if a link to it lies in the data directory.
func TestRetentionBySizeTakesLegacy(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync = "never"
	home, outside := filepath.Join(o.Dir, "legacy"), t.TempDir()
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	handed, users := fixture(t, "gen1-small.db", home), fixture(t, "gen2-small.db", outside)
	if err := os.Symlink(users, filepath.Join(home, "link.db")); err != nil {
		t.Fatal(err)
	}
	before := digest(t, users)
	db := start(t, o)
	for _, days := range []int{9, 1} { // the fixture's newest row is between them
		fill(t, db, noon.Add(-time.Duration(days)*24*time.Hour), 10)
	}
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.RetentionSize = 16 << 20
	if err := os.WriteFile(filepath.Join(home, "large"), make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	defer db.Close()
	v, err := db.PlanRetention()
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, d := range v.Departures {
		order = append(order, d.Legacy+d.Day.String())
	}
	if want := "[2026-11-14 legacy/gen1-small.db2026-11-19 2026-11-22]"; fmt.Sprint(order) != want {
		t.Fatalf("they would go in the order %v, want %s", order, want)
	}
	for {
		if n, err := db.compact.RetainSpace(context.Background(), db.cuttable()); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			break
		}
	}
	if _, err := os.Stat(handed); !os.IsNotExist(err) {
		t.Errorf("the file that was handed over is still there: %v", err)
	}
	if dayNames(t, o.Dir) != "" || digest(t, users) != before {
		t.Errorf("days %q are left, or the user's file is not as it was", dayNames(t, o.Dir))
	}
	infos, err := db.Blocks(context.Background())
	if err != nil || infos[len(infos)-1].Path != users {
		t.Errorf("%+v %v", infos, err)
	}
}

func TestRetentionBySize(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionSize, o.WALSync = 16<<20, "never"
	db := start(t, o)
	defer db.Close()
	ctx := context.Background()
	for i := 5; i >= 1; i-- {
		fill(t, db, noon.Add(-time.Duration(i)*24*time.Hour), 10_000)
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if got := dayNames(t, o.Dir); got != "2026-11-18 2026-11-19 2026-11-20 2026-11-21 2026-11-22" {
		t.Fatal(got)
	}
	// The oldest day has another link: deleting it would free nothing.
	oldest := filepath.Join(o.Dir, "days", "2026-11-18.db")
	if err := os.Link(oldest, filepath.Join(t.TempDir(), "linked")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.compact.RetainSpace(ctx, db.cuttable()); err != nil {
		t.Fatal(err)
	}
	got := dayNames(t, o.Dir)
	if !strings.HasPrefix(got, "2026-11-18 ") || strings.Contains(got, "2026-11-19") || !strings.HasSuffix(got, "2026-11-22") {
		t.Fatalf("%q: the oldest that frees something goes first, and no more than needed", got)
	}
	if p := db.compact.Pressure(); p != "" {
		t.Fatal(p)
	}
	if answers(t, db, 0) == "everything" {
		t.Error("answers claim to cover the days that were deleted")
	}
	// What was deleted for its size does not come back either.
	if out := mustAppend(t, db, finished("late", noon.Add(-4*24*time.Hour))); len(out.Refused) != 1 {
		t.Fatal("an event of a deleted day was taken")
	}
}

// When today alone is too big, nothing is deleted, and health says so.
func TestTodayIsNeverDeleted(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionSize, o.WALSync = 16<<20, "never"
	db := start(t, o)
	defer db.Close()
	ctx := context.Background()
	for i := range 6 {
		fill(t, db, noon.Add(time.Duration(i)*time.Second), 10_000)
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := db.compact.RetainSpace(ctx, db.cuttable()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if h := db.Health(); !strings.Contains(strings.Join(h.Reasons, ";"), "--retention.size") {
		t.Fatalf("%+v", h)
	}
	if page, err := db.Select(ctx, Query{Limit: 1}); err != nil || len(page.Invocations) != 1 {
		t.Fatal("today is gone")
	}
}

// What is left of a snapshot goes although there is room: it is deleted already.
func TestRestOfASnapshotGoes(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.DiskUsage, o.RetentionSize = 0, 0
	db := start(t, o)
	defer db.Close()
	left := filepath.Join(o.Dir, "tmp", "snapshots", "20261123T120000Z")
	if err := os.MkdirAll(filepath.Join(left, "days"), 0o755); err != nil {
		t.Fatal(err)
	}
	if n, err := db.compact.RetainSpace(context.Background(), db.cuttable()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if exists(filepath.Dir(left)) {
		t.Error("it is still there")
	}
}

// retainOldest makes the data directory so large that a past day or two have to go
// for its size, and lets them.
func retainOldest(t testing.TB, db *DB, keep int64) (n int, err error) {
	t.Helper()
	filler := filepath.Join(db.opts.Dir, "filler")
	f, err := os.Create(filler)
	if err == nil {
		err = errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, db.opts.RetentionSize-keep), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err = db.compact.RetainSpace(context.Background(), db.cuttable())
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	return n, err
}

// What is in the log alone about a row whose day goes for want of room outlives a
// crash: a run that goes on keeps its beginning, and one that has expired does not
// come back as a new one.
func TestRetentionBySizeAndACrash(t *testing.T) {
	t.Parallel()
	old := noon.Add(-3 * 24 * time.Hour)
	c := &testClock{at: old.Add(2 * time.Hour)}
	o := testOptions(t.TempDir(), c)
	o.RetentionSize, o.OpenTimeout, o.RetentionTime = 16<<20, time.Hour, 0
	db := start(t, o)
	defer func() { db.Close() }()
	mustAppend(t, db, started("runs on", old), finished("expires", old)) // the first is given up
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	c.add(3*24*time.Hour - 2*time.Hour)
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if err := db.checkpoint(); err != nil { // the log has nothing else
		t.Fatal(err)
	}
	mustAppend(t, db, finished("runs on", noon), started("expires", noon), finished("new", noon))
	want := contents(t, db)["runs on"]
	if n, err := retainOldest(t, db, 0); err != nil || n != 1 || dayNames(t, o.Dir) != "" {
		t.Fatal(n, err, dayNames(t, o.Dir))
	}
	db.crash(t)
	db = start(t, o)
	got := contents(t, db)
	if v := got["runs on"]; v.StartedAt == 0 || !sameKnowledge(v, want) {
		t.Errorf("after the crash it is %s\nit was %s", task.AppendJSON(nil, &v), task.AppendJSON(nil, &want))
	}
	if v, back := got["expires"]; back {
		t.Errorf("what has expired is back: %s", task.AppendJSON(nil, &v))
	}
	if len(got) != 2 {
		t.Errorf("%d invocations", len(got))
	}
}

// The same of a row of a legacy file.
func TestRetentionOfLegacyAndACrash(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.RetentionSize, o.RetentionTime = 16<<20, 0
	home := filepath.Join(o.Dir, "legacy")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	path := fixture(t, "gen1-small.db", home)
	db := start(t, o)
	defer func() { db.Close() }()
	old, err := db.Select(context.Background(), Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, started(old.Invocations[0].TaskID, noon))
	want, err := db.Get(context.Background(), old.Invocations[0].TaskID)
	if err != nil || want.FinishedAt == 0 {
		t.Fatal(want, err)
	}
	if n, err := retainOldest(t, db, 0); err != nil || exists(path) {
		t.Fatal(n, err)
	}
	db.crash(t)
	db = start(t, o)
	if got := contents(t, db); len(got) != 1 || !sameKnowledge(got[want.TaskID], want) {
		v := got[want.TaskID]
		t.Errorf("after the crash it is %s\nit was %s", task.AppendJSON(nil, &v), task.AppendJSON(nil, &want))
	}
}

// The message about a deleted day says how long unlinking its files took, of all the
// time since it left the catalog.
func TestDeletedDayIsTimed(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.RetentionSize, o.WALSync, o.Logger = 16<<20, "never", log.NewLogfmtLogger(log.NewSyncWriter(&logged))
	db := start(t, o)
	defer db.Close()
	fill(t, db, noon.Add(-24*time.Hour), 10)
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if n, err := retainOldest(t, db, 0); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	_, line, _ := strings.Cut(logged.String(), `msg="deleted day" day=2026-11-22 `)
	line, _, _ = strings.Cut(line, "\n")
	var times []time.Duration
	for _, key := range []string{" took=", " unlinking="} {
		_, text, _ := strings.Cut(line, key)
		text, _, _ = strings.Cut(text, " ")
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		times = append(times, d)
	}
	if took, unlinking := times[0], times[1]; unlinking <= 0 || unlinking > took {
		t.Errorf("unlinking took %s of %s", unlinking, took)
	}
}

// Files that a seal has replaced, and that readers still hold, cost no day.
func TestRetentionBySizeBesideReaders(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync = "never"
	ctx := context.Background()
	db := start(t, o)
	defer func() { db.Close() }()
	fill(t, db, noon.Add(-48*time.Hour), 24_000)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	fill(t, db, noon.Add(-24*time.Hour), 24_000)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// One copy tells how large it is with what readers hold and without it.
	sealed := func(dir string, limit int64) (held, after int64, gone int) {
		t.Helper()
		o.Dir, o.RetentionSize = dir, limit
		db = start(t, o)
		reader := db.catalog.View()
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
		held = blocksOf(t, dir)
		// Something that is being built.
		built := filepath.Join(dir, "tmp", "seal")
		if err := os.WriteFile(built, make([]byte, 16<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		gone, err := db.compact.RetainSpace(ctx, db.cuttable())
		if err != nil {
			t.Fatal(err)
		}
		reader.Release()
		db.compact.Settle()
		if err := os.Remove(built); err != nil {
			t.Fatal(err)
		}
		return held, blocksOf(t, dir), gone
	}
	first, second := o.Dir, filepath.Join(t.TempDir(), "second")
	copyTree(t, first, second)
	held, after, _ := sealed(first, 0)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if held-after < 1<<20 {
		t.Fatalf("%d bytes with what is replaced, %d without", held, after)
	}
	if _, _, gone := sealed(second, (held+after)/2); gone != 0 {
		t.Errorf("%d went", gone)
	}
	if got := dayNames(t, second); got != "2026-11-21 2026-11-22" {
		t.Error(got)
	}
}

// blocksOf is what the files of a directory occupy.
func blocksOf(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			bytes += st.Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
