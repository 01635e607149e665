package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

const aDay = 24 * time.Hour

func retain(t testing.TB, db *DB) {
	t.Helper()
	if _, err := db.compact.Retain(context.Background(), db.cuttable()); err != nil {
		t.Fatal(err)
	}
}

// goOn lets a clock go on without a jump, with the rounds that look at it.
func goOn(t testing.TB, db *DB, c *testClock, d time.Duration) {
	t.Helper()
	for ; d > 0; d -= 30 * time.Minute {
		c.add(min(d, 30*time.Minute))
		retain(t, db)
	}
}

func mustGet(t testing.TB, db *DB, id string) task.Invocation {
	t.Helper()
	v, err := db.Get(context.Background(), id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return v
}

// A floor that a clock ahead has raised does not count when the clock is right: what
// happens is taken in, what was acknowledged is stored, also after a crash. When
// the clock has gone on for an hour the floor is taken back for good.
func TestFloorOfAClockAhead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon.Add(40 * aDay)}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer func() { db.Close() }()
	retain(t, db)
	wrong := task.DayOf(noon.Add(25 * aDay).UnixMicro())
	if f := db.head.Floor(); f != wrong {
		t.Fatalf("the floor is %s", f)
	}
	c.add(-40 * aDay)
	if out := mustAppend(t, db, finished("x", noon)); len(out.Refused) > 0 {
		t.Fatal(out.Refused)
	}
	if h := strings.Join(db.Health().Reasons, "; "); !strings.Contains(h, wrong.String()) {
		t.Errorf("health says nothing of it: %s", h)
	}
	// A cut in the log that no file knows is no reason to forget, whatever that floor.
	cs := db.head.Ready(true, 10)
	if err := db.head.SyncCut(db.head.BeginCut(cs[0].Inv.Day(), cs, true)); err != nil {
		t.Fatal(err)
	}
	db.crash(t)
	db = start(t, o)
	mustGet(t, db, "x")
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	mustGet(t, db, "x")
	retain(t, db) // which sees the jump
	goOn(t, db, c, 61*time.Minute)
	if f, is := db.head.WrongFloor(); is {
		t.Errorf("the floor is still %s", f)
	}
	if h := strings.Join(db.Health().Reasons, "; "); strings.Contains(h, "floor") {
		t.Error(h)
	}
	db.crash(t)
	// When the day of the wrong floor has come, the log has the right one.
	c.add(30 * aDay)
	db = start(t, o)
	if f := db.head.Floor(); f != task.DayOf(noon.UnixMicro())-15 {
		t.Errorf("the floor is %s", f)
	}
}

// What was acknowledged is not taken for expired.
func TestFloorOfAClockAheadExpiresNothing(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	db := start(t, testOptions(t.TempDir(), c))
	defer db.Close()
	mustAppend(t, db, finished("x", noon))
	if err := db.head.LogFloor(task.DayOf(noon.UnixMicro()) + 1); err != nil { // as a clock ahead makes it
		t.Fatal(err)
	}
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	mustGet(t, db, "x")
}

// A clock that is behind for a while does not throw a right floor away.
func TestFloorAndAClockBehind(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer func() { db.Close() }()
	retain(t, db)
	right := db.head.Floor()
	c.add(-100 * aDay)
	goOn(t, db, c, 45*time.Minute)
	if out := mustAppend(t, db, finished("x", c.now())); len(out.Refused) > 0 {
		t.Error(out.Refused)
	}
	db.crash(t)
	c.add(100 * aDay)
	db = start(t, o)
	if f := db.head.Floor(); f != right {
		t.Errorf("the floor is %s, was %s", f, right)
	}
}

// Days that come without the time at which a daemon last ran, or with a wrong one,
// are kept for an hour.
func TestRestoredDaysAreKeptForAnHour(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, lock := range []bool{false, true} {
		c := &testClock{at: noon}
		o := testOptions(t.TempDir(), c)
		db := start(t, o)
		mustAppend(t, db, finished("x", noon))
		c.add(2 * aDay)
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		c.add(100 * aDay)
		restored := testOptions(t.TempDir(), c)
		if err := os.CopyFS(filepath.Join(restored.Dir, "days"), os.DirFS(filepath.Join(o.Dir, "days"))); err != nil {
			t.Fatal(err)
		}
		if lock { // as cp -r leaves it
			path := filepath.Join(restored.Dir, "LOCK")
			if err := writeCopiedLock(path, c.now()); err != nil {
				t.Fatal(err)
			}
		}
		ro, err := OpenReadOnly(restored)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := ro.PlanRetention()
		if err != nil || len(plan.Departures) > 0 || plan.PausedSince.IsZero() {
			t.Errorf("with LOCK %v: %v, %+v", lock, err, plan)
		}
		if err := ro.Close(); err != nil {
			t.Fatal(err)
		}
		db = start(t, restored)
		defer func() { db.Close() }()
		retain(t, db)
		mustGet(t, db, "x")
		if db.compact.Paused().IsZero() {
			t.Errorf("with LOCK %v: no pause", lock)
		}
		goOn(t, db, c, 30*time.Minute)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		c.add(time.Minute)
		db = start(t, restored) // a restart is no reason to hurry
		goOn(t, db, c, 28*time.Minute)
		mustGet(t, db, "x")
		goOn(t, db, c, 2*time.Minute)
		if _, err := db.Get(ctx, "x"); err == nil {
			t.Errorf("with LOCK %v: still there after the hour", lock)
		}
	}
	db := start(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	retain(t, db)
	if !db.compact.Paused().IsZero() {
		t.Error("a new directory has nothing to be careful with")
	}
}

// A clock that jumps gives nothing up for an hour; and what a clock that was ahead
// has given up, an event of now opens again, for good.
func TestClockJumpGivesNothingUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer func() { db.Close() }()
	mustAppend(t, db, started("parked", noon))
	if n, err := db.compact.Park(ctx, db.cuttable(), 20, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	mustAppend(t, db, started("x", noon), started("quiet", noon))
	c.add(10 * time.Second)
	db.cutRound(ctx)
	c.add(10 * aDay)
	db.cutRound(ctx)
	c.add(59 * time.Minute)
	db.cutRound(ctx)
	if open, parked := db.head.Stats().Open, db.compact.Parked().Rows(); open != 2 || parked != 1 {
		t.Fatalf("%d are open, %d parked", open, parked)
	}
	c.add(2 * time.Minute)
	for range 2 {
		db.cutRound(ctx)
		c.add(5 * time.Second)
	}
	for _, id := range []string{"parked", "x", "quiet"} {
		if v := mustGet(t, db, id); v.GivenUpAt == 0 {
			t.Errorf("%s is not given up", id)
		}
	}
	c.add(-10 * aDay)
	mustAppend(t, db, started("x", c.now()), started("quiet", noon))
	look := func(when string) {
		t.Helper()
		if v := mustGet(t, db, "x"); v.GivenUpAt != 0 {
			t.Errorf("%s an event of now is not heeded: %+v", when, v)
		}
		if v := mustGet(t, db, "quiet"); v.GivenUpAt == 0 {
			t.Errorf("%s an event that is known already reopens", when)
		}
	}
	look("at once,")
	db.crash(t)
	db = start(t, o)
	look("after a crash,")
	mustAppend(t, db, finished("x", c.now()))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	page, err := db.Select(ctx, Query{Filter: task.Filter{TaskID: "x"}, Limit: 10})
	if err != nil || len(page.Invocations) != 1 || page.Invocations[0].State != task.StateSuccess {
		t.Errorf("%v: %+v", err, page.Invocations)
	}
}

// Cuts go on when the clock has gone back.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	db := start(t, testOptions(t.TempDir(), c))
	defer db.Close()
	mustAppend(t, db, finished("before", noon))
	c.add(-6 * time.Hour)
	mustAppend(t, db, finished("after", c.now()))
	c.add(5 * time.Second)
	db.cutRound(ctx)
	if st := db.head.Stats(); st.Records != 0 {
		t.Errorf("%d are left in the head", st.Records)
	}
}
