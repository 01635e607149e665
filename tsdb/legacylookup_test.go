package tsdb

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"daybook/blocks"
	"daybook/head"
	"daybook/tsdb/task"
)

// withLegacy is a DB with a legacy file, and the file's rows.
func withLegacy(t *testing.T, o Options) (db *DB, rows []task.Invocation) {
	t.Helper()
	o.Legacy, o.RetentionTime = []string{fixture(t, "gen1-small.db", t.TempDir())}, 0
	db = start(t, o)
	rows = (&model{t: t, db: db}).all(Query{Limit: 1000})
	if len(rows) == 0 {
		t.Fatal("the legacy file has no rows")
	}
	return db, rows
}

// Look-ups by id, and events that may be of the file, do not wait for readers that
// have all the connections there are for scans.
func TestLegacyLookupBesideScans(t *testing.T) {
	t.Parallel()
	db, rows := withLegacy(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	const scans = 4
	var wg sync.WaitGroup
	reading, release := make(chan struct{}, scans+2), make(chan struct{})
	for range cap(reading) { // some wait
		wg.Go(func() {
			first := sync.OnceFunc(func() { reading <- struct{}{}; <-release })
			err := db.legacy.files[0].Select(context.Background(), blocks.Select{Skip: func(string, uint64) bool { first(); return false }},
				func(*task.Invocation) (bool, error) { return false, nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range scans {
		<-reading
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if v, err := db.Get(ctx, rows[0].TaskID); err != nil || v.RowTime() != rows[0].RowTime() {
		t.Errorf("a look-up: %v %v", v, err)
	}
	if _, err := db.Append(ctx, []Record{started(rows[1].TaskID, noon)}); err != nil {
		t.Errorf("an event: %v", err)
	}
	close(release)
	wg.Wait()
}

// An id that the file certainly does not hold is not looked for in it.
func TestLegacyLookupOfOtherIDs(t *testing.T) {
	t.Parallel()
	db, rows := withLegacy(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	computeSums(t, db, func() {})
	if err := db.legacy.files[0].Close(); err != nil { // every look-up in it fails
		t.Fatal(err)
	}
	var missing *NotFoundError
	if _, err := db.Get(context.Background(), "of nobody"); !errors.As(err, &missing) || len(missing.Coverage.Unreadable) > 0 {
		t.Errorf("an id that it does not hold: %v, %+v", err, missing)
	}
	missing = nil
	if _, err := db.Get(context.Background(), rows[0].TaskID); !errors.As(err, &missing) || len(missing.Coverage.Unreadable) != 1 {
		t.Errorf("one that it holds: %v, %+v", err, missing)
	}
}

// goesOn wants an invocation to be what the legacy file says and what came later.
func goesOn(t *testing.T, db *DB, when string, old task.Invocation) {
	t.Helper()
	got, err := db.Get(context.Background(), old.TaskID)
	if err != nil || got.State != old.State || got.ReceivedAt != old.ReceivedAt || got.FinishedAt != old.FinishedAt {
		t.Errorf("%s: %v\n%s\nthe legacy file has\n%s", when, err, task.AppendJSON(nil, &got), task.AppendJSON(nil, &old))
	}
}

// ended are those of rows that have ended, so that a late start does not change them.
func ended(t *testing.T, rows []task.Invocation, n int) []task.Invocation {
	t.Helper()
	var out []task.Invocation
	for _, v := range rows {
		if v.State == task.StateSuccess && v.ReceivedAt != 0 {
			out = append(out, v)
		}
	}
	if len(out) < n {
		t.Fatalf("%d have ended", len(out))
	}
	return out[:n]
}

// An event whose legacy row cannot be looked up for the moment is not taken: it would
// hide the row for good. The client that comes again finds nothing of it in the way.
func TestLegacyLookupEndsEarly(t *testing.T) {
	db, rows := withLegacy(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	mustAppend(t, db, finished("warm", noon)) // the log's file is open
	tries := []struct {
		why  string
		with func(do func(context.Context))
		want error // nil: any
	}{
		{"the client has gone", func(do func(context.Context)) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			do(ctx)
		}, context.Canceled},
		{"its time has run out", func(do func(context.Context)) {
			ctx, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
			defer cancel()
			do(ctx)
		}, ErrStalled},
		{"there is no descriptor", func(do func(context.Context)) {
			// Whoever holds the one connection that there is waits for it.
			var once sync.Once // Skip is called for every row
			err := db.legacy.files[0].Select(context.Background(), blocks.Select{Skip: func(string, uint64) bool {
				once.Do(func() {
					enough := starve(t, 0)
					do(context.Background())
					enough()
				})
				return false
			}}, func(*task.Invocation) (bool, error) { return false, nil })
			if err != nil {
				t.Fatal(err)
			}
		}, nil},
	}
	for i, old := range ended(t, rows, len(tries)) {
		try := tries[i]
		rec := started(old.TaskID, noon)
		try.with(func(ctx context.Context) {
			_, err := db.Append(ctx, []Record{rec})
			if err == nil || try.want != nil && !errors.Is(err, try.want) {
				t.Errorf("%s: %v", try.why, err)
			}
			_, err = db.Get(ctx, old.TaskID)
			if err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("%s: it is looked up: %v", try.why, err)
			}
		})
		if db.head.Get(old.TaskID) != nil {
			t.Errorf("%s: it is in the head", try.why)
		}
		mustAppend(t, db, rec)
		goesOn(t, db, try.why, old)
	}
	ails(t, db, true)
}

// The same of a replay: one that is ended in the middle does not settle that there is
// nothing.
func TestReplayEndsBesideLegacy(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	db, rows := withLegacy(t, o)
	o = db.opts
	old := ended(t, rows, 1)[0]
	mustAppend(t, db, started(old.TaskID, noon))
	db.crash(t)
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { db.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.head.Replay(context.Background(), head.Replaying{Known: func(uint64, task.Day) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	if err := db.resolveReplayed(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	if err := db.resolveReplayed(context.Background()); err != nil {
		t.Fatal(err)
	}
	db.ready.Store(true)
	goesOn(t, db, "replayed", old)
}

// A legacy file that cannot be read any more stops no event. Health tells until it
// can, the log at most once a minute, neither of them of readers who have gone.
func TestLegacyFileFails(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	o := testOptions(t.TempDir(), &testClock{at: noon})
	reg := prometheus.NewRegistry()
	o.Metrics, o.Logger = reg, log.NewLogfmtLogger(log.NewSyncWriter(&said))
	db, rows := withLegacy(t, o)
	defer db.Close()
	ctx := context.Background()
	path := db.legacy.files[0].Path()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	warned := func() int { return strings.Count(said.String(), "level=warn") }
	ask := func(ctx context.Context, n int) {
		t.Helper()
		_, _ = db.Get(ctx, rows[n].TaskID)
		_, _ = db.Select(ctx, Query{Limit: 1})
		_, _ = db.Append(ctx, []Record{started(rows[n].TaskID, noon)})
	}
	ask(gone, 0)
	ails(t, db, true)
	if n := warned(); n != 0 {
		t.Errorf("%d warnings for readers that have gone:\n%s", n, said.String())
	}
	if err := os.Chtimes(path, time.Time{}, fi.ModTime().Add(time.Second)); err != nil { // as if it was written
		t.Fatal(err)
	}
	for n := range 5 {
		ask(ctx, n)
		mustAppend(t, db, started(rows[n].TaskID, noon))
		ails(t, db, true, path, "has changed")
	}
	if n := value(t, reg, "daybook_unreadable_files"); n != 1 {
		t.Errorf("%v unreadable files are counted", n)
	}
	if n := warned(); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, said.String())
	}
	ask(gone, 5)
	ails(t, db, true, path, "has changed")
	if err := os.Chtimes(path, time.Time{}, fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Get(ctx, rows[6].TaskID); err != nil {
		t.Fatal(err)
	}
	ails(t, db, true)
}
