package tsdb

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// reopenedHead has a head of 80 at most with n invocations in it that were given up,
// and then got another event. They cannot be parked.
func reopenedHead(t *testing.T, policy OverflowPolicy, n int) (db *DB, c *testClock, o Options) {
	t.Helper()
	ctx := context.Background()
	c = &testClock{at: noon}
	o = testOptions(t.TempDir(), c)
	o.HeadMaxRecords, o.Settle, o.OpenTimeout, o.OnOverflow = 80, time.Hour, 2*time.Hour, policy
	db = start(t, o)
	for i := range n {
		mustAppend(t, db, started(fmt.Sprint(i), noon))
	}
	c.add(3 * time.Hour)
	if res, err := db.Cut(ctx, false); err != nil || res.Rows != int64(n) {
		t.Fatalf("%d are given up, %v", res.Rows, err)
	}
	for i := range n {
		mustAppend(t, db, started(fmt.Sprint(i), c.now()))
	}
	if s := db.head.Stats(); s.Open != int64(n) || s.Stored != int64(n) {
		t.Fatalf("%+v", s)
	}
	return db, c, o
}

// A head that is full of invocations that are open again after they were given up
// takes more: they are given up again when nothing else can leave it.
func TestReopenedLeaveAFullHead(t *testing.T) {
	t.Parallel()
	for _, policy := range []OverflowPolicy{OverflowReject, OverflowDropOldest} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			const n = 80
			db, c, o := reopenedHead(t, policy, n)
			defer func() { db.Close() }()
			again := c.now().UnixMicro()
			c.add(time.Minute)
			// The longest without an event go first, until the head is half full.
			if !db.cutRound(ctx) {
				t.Error("nothing left the head")
			}
			if s := db.head.Stats(); s.Records != n/2 || db.head.Get("0") != nil || db.head.Get(fmt.Sprint(n-1)) == nil {
				t.Errorf("%d are in the head", s.Records)
			}
			for i := range n / 2 {
				if out := mustAppend(t, db, started(fmt.Sprint("new", i), c.now())); out.Dropped > 0 {
					t.Fatalf("%d are dropped", out.Dropped)
				}
			}
			each := func(what string, want func(i int) bool) {
				t.Helper()
				page, err := db.Select(ctx, Query{Limit: 1000})
				if err != nil || len(page.Invocations) != n+n/2 {
					t.Errorf("%s: %d are shown, %v", what, len(page.Invocations), err)
				}
				for i := range n {
					v, _, err := db.get(ctx, fmt.Sprint(i))
					if err != nil || v.UpdatedAt < again || v.Open() != want(i) {
						t.Errorf("%s: %d: %v, %+v", what, i, err, v)
					}
				}
			}
			late := func(i int) bool { return i >= n/2 }
			each("given up", late)
			db.crash(t)
			db = start(t, o)
			each("after a crash", late)
			// Parked are those that no day knows; then the others go again.
			c.add(time.Minute)
			for db.cutRound(ctx) {
			}
			if s := db.head.Stats(); s.Records > n/2 {
				t.Errorf("%d are in the head after a crash", s.Records)
			}
			// The next event opens one again, though it came before it was given up here.
			mustAppend(t, db, started("0", time.UnixMicro(again+1)))
			each("opened again", func(i int) bool { return i == 0 || late(i) })
			mustAppend(t, db, finished("0", c.now()))
			db.crash(t)
			db = start(t, o)
			if v, _, err := db.get(ctx, "0"); err != nil || !v.State.Finished() {
				t.Errorf("%v, %+v", err, v)
			}
		})
	}
}

// Health says that a head is full of what cannot leave it, for as long as that is so.
func TestHealthOfAHeadThatIsStuck(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.HeadMaxRecords, o.Settle, o.OpenTimeout = 20, time.Hour, 2*time.Hour
	stuck := false
	o.step = func(string) error {
		if stuck {
			return errStep
		}
		return nil
	}
	db := start(t, o)
	defer db.Close()
	for i := range 20 {
		mustAppend(t, db, started(fmt.Sprint(i), noon))
	}
	c.add(3 * time.Hour)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		mustAppend(t, db, started(fmt.Sprint(i), c.now()))
	}
	c.add(24 * time.Hour) // so that rows have to leave another day
	says := func() bool {
		return strings.Contains(strings.Join(db.Health().Reasons, ";"), "of 20 invocations 20 are open")
	}
	if says() {
		t.Error("told before anything was tried")
	}
	stuck = true
	if db.cutRound(ctx) || !says() {
		t.Errorf("%v", db.Health().Reasons)
	}
	stuck = false
	if !db.cutRound(ctx) || says() {
		t.Errorf("%v", db.Health().Reasons)
	}
}

// A log that has more of them than the head may hold is replayed.
func TestReplayOfMoreReopenedThanFit(t *testing.T) {
	t.Parallel()
	db, _, o := reopenedHead(t, OverflowReject, 80)
	defer func() { db.Close() }()
	db.crash(t)
	o.HeadMaxRecords = 20
	db = start(t, o)
	if n := db.head.Stats().Records; n > 20 {
		t.Errorf("%d are in the head", n)
	}
	page, err := db.Select(context.Background(), Query{Limit: 1000})
	if err != nil || len(page.Invocations) != 80 {
		t.Errorf("%d are shown, %v", len(page.Invocations), err)
	}
}
