package tsdb

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// A head that fills is relieved in parts, the oldest first, before they have settled;
// what is open leaves it last.
func TestRelief(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.HeadMaxRecords, o.Settle = 80, time.Hour
	db := start(t, o)
	defer db.Close()
	add := func(open bool, from, to int) {
		for i := from; i < to; i++ {
			r := finished(fmt.Sprint(i), noon)
			if open {
				r = started(fmt.Sprint(i), noon)
			}
			mustAppend(t, db, r)
		}
	}
	inHead := func(i int) bool { return db.head.Get(fmt.Sprint(i)) != nil }
	round := func() bool { return db.cutRound(ctx) }
	check := func(what string, open, done int, parked int64) {
		t.Helper()
		if s := db.head.Stats(); int(s.Open) != open || int(s.Records-s.Open) != done || db.compact.Parked().Rows() != parked {
			t.Errorf("%s: %d open, %d done, %d parked; want %d, %d, %d", what, s.Open, s.Records-s.Open, db.compact.Parked().Rows(), open, done, parked)
		}
	}
	add(true, 0, 10)
	add(false, 10, 40)
	if round() {
		t.Error("a head that is half full was cut")
	}
	check("half full", 10, 30, 0)
	add(false, 40, 41)
	if !round() {
		t.Error("a head that is more than half full was not cut")
	}
	check("relieved", 10, 21, 0)
	if inHead(10) || inHead(19) || !inHead(20) || !inHead(40) {
		t.Error("not the oldest were cut")
	}
	add(true, 41, 71) // 61: open ones alone are half of what fits
	for round() {
	}
	check("all that is finished is cut", 40, 0, 0)
	add(true, 71, 72)
	round()
	check("open ones are parked", 31, 0, 10)
	if inHead(0) || !inHead(71) {
		t.Error("not the oldest was parked")
	}
}

// What cannot be cut, and what is finished one by one, keeps nothing open from
// being parked.
func TestReliefParks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.HeadMaxRecords, o.Settle = 80, time.Hour
	stuck := false
	o.step = func(string) error {
		if stuck {
			return errors.New("stuck")
		}
		return nil
	}
	db := start(t, o)
	defer db.Close()
	for i := range 41 {
		mustAppend(t, db, started(fmt.Sprint("open", i), noon))
	}
	mustAppend(t, db, finished("done", noon))
	if !db.cutRound(ctx) || db.head.Get("done") != nil || db.compact.Parked().Rows() != 10 {
		t.Errorf("beside one finished run %d were parked", db.compact.Parked().Rows())
	}
	for i := range 15 {
		mustAppend(t, db, finished(fmt.Sprint("done", i), noon))
	}
	stuck = true
	db.cutRound(ctx)
	if n := db.compact.Parked().Rows(); n != 20 {
		t.Errorf("beside cuts that fail %d are parked", n)
	}
	stuck = false
}

// A request that is taken whole or not at all gets its room at one moment: smaller
// ones would take up what is relieved in parts.
func TestReliefForLargeRequests(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for what, held := range map[string]func(id string, at time.Time) Record{"finished": finished, "open": started} {
		for _, n := range []int{30, 50} { // of 80
			t.Run(fmt.Sprint(n, " ", what), func(t *testing.T) {
				t.Parallel()
				o := testOptions(t.TempDir(), &testClock{at: noon})
				o.HeadMaxRecords, o.Settle, o.OnOverflow = 80, time.Hour, OverflowReject
				db := start(t, o)
				defer db.Close()
				for i := range n {
					mustAppend(t, db, held(fmt.Sprint(i), noon))
				}
				done := make(chan error)
				go func() {
					var large []Record
					for i := range 60 {
						large = append(large, finished(fmt.Sprint("large", i), noon))
					}
					_, err := db.Append(ctx, large)
					done <- err
				}()
				until(t, "a request waits", func() bool { return db.wanted.Load() == 1 })
				db.cutRound(ctx)
				db.room.wake()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if n := db.wanted.Load(); n != 0 {
					t.Errorf("%d requests still wait", n)
				}
			})
		}
	}
}

// A head that is relieved leaves rows that move where they are for a reader, as long
// as there are others.
func TestReliefHeedsReaders(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.HeadMaxRecords, o.Settle = 80, time.Hour
	db := start(t, o)
	defer db.Close()
	add := func(at time.Time, what string, n int) {
		for i := range n {
			mustAppend(t, db, finished(fmt.Sprint(what, i), at))
		}
	}
	add(noon.Add(-24*time.Hour), "moves", 5)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	release, err := db.compact.HoldMoves(ctx)
	if err != nil {
		t.Fatal(err)
	}
	add(noon, "moves", 5)
	add(noon, "new", 45)
	moves := db.catalog.Moves()
	if n, err := db.relieve(ctx); n != 5 || err != nil || db.head.Get("moves4") == nil || db.catalog.Moves() != moves {
		t.Errorf("%d are cut beside a reader, %v", n, err)
	}
	release()
	if n, err := db.relieve(ctx); n != 10 || err != nil || db.head.Get("moves4") != nil || db.catalog.Moves() == moves {
		t.Errorf("%d are cut, %v", n, err)
	}
}
