package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"daybook/head"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// finished is a SUCCESS at a time.
func finished(id string, at time.Time) Record {
	e := task.Event{TaskID: id, State: task.StateSuccess, At: at.UnixMicro(), Worker: "w@h", TaskName: "t", Retries: task.RetriesUnknown}
	return Record{Invocation: e.Invocation()}
}

func started(id string, at time.Time) Record {
	e := task.Event{TaskID: id, State: task.StateStarted, At: at.UnixMicro(), Worker: "w@h", TaskName: "t", Retries: task.RetriesUnknown}
	return Record{Invocation: e.Invocation()}
}

func mustAppend(t testing.TB, db *DB, recs ...Record) Appended {
	t.Helper()
	out, err := db.Append(context.Background(), recs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// running starts a DB with its loops.
func running(t testing.TB, o Options) *DB {
	t.Helper()
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, db.Close()); err != nil {
			t.Error(err)
		}
	})
	until(t, "ready", func() bool { return db.Ready().Ready })
	return db
}

// until waits for a condition, looking every few milliseconds.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestClockAtIngest(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 2 * 24 * time.Hour
	db := start(t, o)
	defer db.Close()
	out := mustAppend(t, db, finished("ok", noon), finished("ahead", noon.Add(2*time.Hour)), finished("old", noon.Add(-72*time.Hour)),
		finished("edge", time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)), Record{Invocation: task.Invocation{TaskID: "nobody"}, NoTime: true})
	if len(out.Refused) != 3 || out.Refused[0].Index != 1 || out.Refused[1].Index != 2 || out.Refused[2].Index != 4 {
		t.Fatalf("%+v", out)
	}
	v, err := task.ParseJSON([]byte(`{"task_id":"ok","queue":"q"}`))
	if !errors.Is(err, task.ErrNoTime) {
		t.Fatal(err)
	}
	if out := mustAppend(t, db, Record{Invocation: v, NoTime: true}); len(out.Refused) != 0 {
		t.Fatalf("a line without a time, of a known id: %+v", out)
	}
	if got, err := db.Get(context.Background(), "ok"); err != nil || got.Queue != "q" || got.State != task.StateSuccess || got.UpdatedAt != noon.UnixMicro() {
		t.Fatalf("%+v %v", got, err)
	}
	if db.Health().RejectedTotal != 3 {
		t.Fatal("refused lines are not counted")
	}
}

// answers says what an answer from a time on claims to cover.
func answers(t testing.TB, db *DB, from int64) string {
	t.Helper()
	page, err := db.Select(context.Background(), Query{Filter: task.Filter{From: from}, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if page.Coverage.Complete {
		return "everything"
	}
	return "not everything"
}

func TestRetentionDeletesWholeDays(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 3 * 24 * time.Hour
	db := start(t, o)
	defer func() { db.Close() }()
	for i := range 4 {
		mustAppend(t, db, finished(fmt.Sprint("d", i), noon.Add(-time.Duration(i)*24*time.Hour)))
	}
	ctx := context.Background()
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	names := func() string {
		found, err := filepath.Glob(filepath.Join(o.Dir, "days", "*.db"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			found[i] = filepath.Base(found[i])
		}
		return strings.Join(found, " ")
	}
	retain := func() {
		t.Helper()
		if _, err := db.compact.Retain(ctx, db.cuttable()); err != nil {
			t.Fatal(err)
		}
	}
	retain()
	if got := names(); got != "2026-11-20.db 2026-11-21.db 2026-11-22.db" {
		t.Fatal(got)
	}
	if answers(t, db, 0) != "everything" {
		t.Fatal("a floor below which nothing was makes answers incomplete")
	}
	// An hourly clock that goes on ages them out.
	for range 24 {
		c.add(time.Hour)
		retain()
	}
	if got := names(); got != "2026-11-21.db 2026-11-22.db" {
		t.Fatal(got)
	}
	// A question without a beginning is not answered whole any more, and that
	// outlives a crash, a checkpoint and a copy.
	kept := db.retentionFrom()
	ask := func(what string, db *DB) {
		t.Helper()
		if all, rest := answers(t, db, 0), answers(t, db, kept); all != "not everything" || rest != "everything" {
			t.Errorf("%s covers %s, from what is kept on %s", what, all, rest)
		}
	}
	ask("the daemon", db)
	db.crash(t)
	db = start(t, o)
	ask("after a crash, the daemon", db)
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "backup")
	if _, err := Backup(ctx, BackupOptions{Dir: o.Dir, Dest: dest}); err != nil {
		t.Fatal(err)
	}
	db.crash(t)
	db = start(t, o)
	ask("after a checkpoint, the daemon", db)
	for what, dir := range map[string]string{"a tool": o.Dir, "a backup": dest} {
		ro, err := OpenReadOnly(testOptions(dir, c))
		if err != nil {
			t.Fatal(err)
		}
		ask(what, ro)
		if err := ro.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// What has expired does not come back: not by an event, not by a replay.
	if out := mustAppend(t, db, finished("d3", noon.Add(-72*time.Hour))); len(out.Refused) != 1 {
		t.Fatal("an event below the floor was taken")
	}
	// A clock that jumps pauses deletion by age for an hour, and says so.
	c.add(30 * 24 * time.Hour)
	retain()
	if got := names(); got != "2026-11-21.db 2026-11-22.db" {
		t.Fatalf("deleted on the word of a clock that jumped: %s", got)
	}
	if h := db.Health(); !strings.Contains(strings.Join(h.Reasons, ";"), "clock") {
		t.Fatalf("health says nothing of the clock: %v", h.Reasons)
	}
	c.add(59 * time.Minute)
	retain()
	if got := names(); got == "" {
		t.Fatal("the pause is too short")
	}
	c.add(2 * time.Minute)
	retain()
	if got := names(); got != "" {
		t.Fatalf("still there: %s", got)
	}
}

// A clock that was wrong at the last start does not delete at this one.
func TestClockJumpAcrossRestart(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	mustAppend(t, db, finished("x", noon))
	ctx := context.Background()
	retain := func() {
		if _, err := db.compact.Retain(ctx, db.cuttable()); err != nil {
			t.Fatal(err)
		}
	}
	retain()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c.add(1000 * 24 * time.Hour)
	db = start(t, o)
	defer db.Close()
	retain()
	if _, err := db.Get(ctx, "x"); err != nil {
		t.Fatalf("deleted on the word of a clock that jumped: %v", err)
	}
}

func TestOverflowRejectIsAllOrNothing(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.HeadMaxRecords, o.OnOverflow = 3, OverflowReject
	db := start(t, o) // no cutter: nothing makes room
	defer db.Close()
	mustAppend(t, db, started("a", noon), started("b", noon))
	_, err := db.Append(context.Background(), []Record{started("c", noon), started("d", noon)})
	if !errors.Is(err, ErrOverloaded) {
		t.Fatal(err)
	}
	if _, err := db.Get(context.Background(), "c"); !errors.Is(err, ErrNotFound) {
		t.Fatal("a part of a refused request was stored")
	}
	mustAppend(t, db, started("c", noon), finished("a", noon))
}

// A request that is stored whole has its room also when ids that the head held leave it
// meanwhile, and others come. Nothing that was acknowledged goes for it.
func TestOverflowRejectDropsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.HeadMaxRecords, o.OnOverflow, o.Settle = 2, OverflowReject, time.Hour
	db := start(t, o) // no cutter: nothing makes room
	defer db.Close()
	mustAppend(t, db, finished("a", noon), finished("b", noon))
	later := []Record{finished("a", noon.Add(time.Second)), finished("b", noon.Add(time.Second))}
	invs := []*task.Invocation{&later[0].Invocation, &later[1].Invocation}
	records := head.Encode(invs)
	giveBack, err := db.promise(ctx, invs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	_, err = db.Append(ctx, []Record{finished("c", noon), finished("d", noon)})
	if !errors.Is(err, ErrOverloaded) {
		t.Errorf("others get the room that was promised: %v", err)
	}
	var out Appended
	if err := db.apply(ctx, invs, records, true, &out); err != nil || out.Dropped != 0 || db.dropped.Load() != 0 {
		t.Errorf("%v, %d of it dropped, %d dropped in all", err, out.Dropped, db.dropped.Load())
	}
	giveBack()
	if _, full, err := db.makeRoom(ctx); !errors.Is(err, ErrOverloaded) || full || db.dropped.Load() != 0 { // whoever gets there
		t.Errorf("%v, full %v, %d dropped", err, full, db.dropped.Load())
	}
}

func TestOverflowDropsTheOldest(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.HeadMaxRecords = 1
	db := start(t, o) // no cutter: cutting cannot keep up
	mustAppend(t, db, finished("a", noon))
	if out := mustAppend(t, db, finished("b", noon)); out.Dropped != 0 {
		t.Fatalf("%+v: dropped counts lines of the request", out)
	}
	if _, err := db.Get(context.Background(), "a"); !errors.Is(err, ErrNotFound) {
		t.Fatal("the oldest is still there")
	}
	h := db.Health()
	if h.DroppedTotal != 1 || h.HeadRecords != 1 {
		t.Fatalf("%+v", h)
	}
	page, err := db.Select(context.Background(), Query{Limit: 10})
	if err != nil || page.Coverage.Complete || len(page.Coverage.Gaps) != 1 || page.Coverage.Gaps[0].Count != 1 {
		t.Fatalf("%+v %v", page.Coverage, err)
	}
	db.crash(t)
	db = start(t, o)
	defer db.Close()
	if _, err := db.Get(context.Background(), "a"); !errors.Is(err, ErrNotFound) {
		t.Fatal("a replay brings back what was dropped")
	}
}

// With a cutter, a head of one record is slow and loses nothing.
func TestSmallestHead(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir, o.HeadMaxRecords = t.TempDir(), 1
	db := running(t, o)
	now := time.Now()
	for i := range 20 {
		if out := mustAppend(t, db, finished(fmt.Sprint("f", i), now), started(fmt.Sprint("s", i), now)); out.Dropped != 0 {
			t.Fatalf("%+v", out)
		}
	}
	page, err := db.Select(context.Background(), Query{Limit: 100})
	if err != nil || len(page.Invocations) != 40 || db.Health().DroppedTotal != 0 {
		t.Fatalf("%d of 40, %+v, %v", len(page.Invocations), db.Health(), err)
	}
}

// Writers, readers, cuts and seals at once, with the loops of Run: a client
// always reads its own acknowledged write, and a walk shows each id once.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir, o.HeadMaxRecords, o.CutInterval, o.Settle, o.SealDelay = t.TempDir(), 500, 20*time.Millisecond, 0, 0
	o.WALSync = "never"
	db := running(t, o)
	ctx := context.Background()
	var wg sync.WaitGroup
	var stop atomic.Bool
	fail := func(format string, args ...any) {
		stop.Store(true)
		t.Errorf(format, args...)
	}
	for w := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 150 {
				if stop.Load() {
					return
				}
				at := time.Now().Add(-time.Duration(r.IntN(4)) * 24 * time.Hour)
				id := fmt.Sprintf("w%d-%d", w, r.IntN(300))
				recs := []Record{started(id, at.Add(-time.Second))}
				if r.IntN(3) > 0 {
					recs = append(recs, finished(id, at))
				}
				if _, err := db.Append(ctx, recs); err != nil {
					fail("append: %v", err)
				}
				got, err := db.Get(ctx, id)
				if err != nil || len(recs) == 2 && !got.State.Finished() {
					fail("step %d: %s after its acknowledgement: %v %v", i, id, got.State, err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				page, err := db.Select(ctx, Query{Limit: 1000, Details: true})
				if err != nil {
					fail("select: %v", err)
					return
				}
				seen := map[string]bool{}
				for i, v := range page.Invocations {
					if seen[v.TaskID] || i > 0 && page.Invocations[i-1].Key().Compare(v.Key()) <= 0 {
						fail("%s is shown twice or out of order", v.TaskID)
						return
					}
					seen[v.TaskID] = true
				}
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := db.Cut(ctx, true); err != nil {
				fail("cut and seal: %v", err)
				return
			}
		}
	})
	wg.Wait()
	readers.Wait()
}

func TestDetailRate(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.DetailRate = 2
	db := start(t, o)
	defer db.Close()
	rec := func(id string, s task.State, at time.Time) Record {
		e := task.Event{TaskID: id, TaskName: "t", State: s, At: at.UnixMicro(), Args: "(1,)", Result: "r", ExceptionMessage: "m", Retries: 0}
		return Record{Invocation: e.Invocation()}
	}
	mustAppend(t, db, rec("a", task.StateSuccess, noon), rec("b", task.StateSuccess, noon), rec("c", task.StateSuccess, noon),
		rec("d", task.StateFailure, noon), rec("e", task.StateSuccess, noon.Add(-time.Minute)))
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"a": "", "b": "", "c": "args,result", "d": "", "e": ""} {
		v, err := db.Get(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(v.Truncated.Names(), ","); got != want || (v.Args == "") != (want != "") {
			t.Errorf("%s: truncated %q, args %q; want %q", id, got, v.Args, want)
		}
	}
}

func TestDowntimeIsAGap(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c.add(5 * time.Minute)
	db = start(t, o)
	defer db.Close()
	db.noteDowntime()
	page, err := db.Select(context.Background(), Query{Limit: 1})
	if err != nil || len(page.Coverage.Gaps) != 1 || page.Coverage.Complete {
		t.Fatalf("%+v %v", page.Coverage, err)
	}
	if g := page.Coverage.Gaps[0]; g.From != noon.UnixMicro() || g.To != c.now().UnixMicro() || g.Cause != "daemon down" {
		t.Fatalf("%+v", g)
	}
	if page, err := db.Select(context.Background(), Query{Limit: 1, Filter: task.Filter{From: c.now().UnixMicro() + 1}}); err != nil || !page.Coverage.Complete {
		t.Fatalf("a range without the gap: %+v %v", page.Coverage, err)
	}
}

// Words are found wherever an invocation is kept.
func TestSearch(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	db := start(t, testOptions(t.TempDir(), c))
	defer func() { db.Close() }()
	ctx := context.Background()
	rec := func(id string, at time.Time, args, message string) Record {
		e := task.Event{TaskID: id, TaskName: "shop.orders.charge", State: task.StateFailure, At: at.UnixMicro(), Args: args,
			ExceptionType: "PaymentDeclined", ExceptionMessage: message, Retries: 0}
		return Record{Invocation: e.Invocation()}
	}
	mustAppend(t, db, rec("sealed", noon.Add(-24*time.Hour), "(42, 'ORD-00512345')", "card of user@example.com"))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, rec("live", noon, "{'team_id': 42}", "ORD-00512346"))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, rec("22c5a64c-6072-4dac-8c85-17988df61611", noon.Add(time.Second), "('größe',)", "42"))
	for q, want := range map[string]string{
		"ORD-00512345":                         "sealed",
		"user@example.com":                     "sealed",
		"42":                                   "22c5a64c-6072-4dac-8c85-17988df61611 live sealed",
		"GRÖSSE":                               "",
		"Größe":                                "22c5a64c-6072-4dac-8c85-17988df61611",
		"22c5a64c-6072-4dac-8c85-17988df61611": "22c5a64c-6072-4dac-8c85-17988df61611",
		"ord 42":                               "live sealed",
		`"card of user"`:                       "sealed",
		"paymentdecl*":                         "22c5a64c-6072-4dac-8c85-17988df61611 live sealed",
		"/0051234/":                            "live sealed",
		"charge team_id":                       "live",
		"nowhere":                              "",
	} {
		parsed, err := text.Parse(q)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		page, err := db.Select(ctx, Query{Limit: 10, Text: parsed})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, v := range page.Invocations {
			ids = append(ids, v.TaskID)
			if v.Args != "" {
				t.Errorf("%s: details although they were not asked for", q)
			}
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: found %q, want %q", q, got, want)
		}
		n, err := db.Count(ctx, CountQuery{Text: parsed})
		if err != nil || n.Total != int64(len(ids)) {
			t.Errorf("%s: counted %d, %v", q, n.Total, err)
		}
	}
}
