package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// turmoil keeps a DB busy: new rows, late rows, rows that change their day,
// cuts, seals, reseals, parking, checkpoints.
type turmoil struct {
	t    *testing.T
	db   *DB
	c    *testClock
	stop atomic.Bool
	wg   sync.WaitGroup
	cuts atomic.Int64
	more chan struct{} // a round of the maintenance lets some ingest through
}

func (x *turmoil) begin() {
	x.wg.Go(x.ingest)
	x.wg.Go(x.maintain)
}

func (x *turmoil) end() {
	if x.stop.Swap(true) {
		return
	}
	x.wg.Wait()
}

func (x *turmoil) ingest() {
	r := rand.New(rand.NewPCG(1, 2))
	for range x.more {
		recs := make([]Record, 60)
		for i := range recs {
			at := x.c.now().Add(-time.Duration(r.Int64N(int64(80 * time.Hour)))).Truncate(50 * time.Millisecond)
			id := fmt.Sprintf("restless-%d", r.IntN(1500))
			if recs[i] = finished(id, at); r.IntN(2) == 0 {
				recs[i] = started(id, at)
			}
		}
		if _, err := x.db.Append(context.Background(), recs); err != nil {
			x.t.Errorf("append: %v", err)
		}
	}
}

func (x *turmoil) maintain() {
	ctx := context.Background()
	defer close(x.more)
	for n := 1; !x.stop.Load(); n++ {
		for range 4 {
			x.more <- struct{}{}
		}
		_, err := x.db.Cut(ctx, n%3 == 0)
		if err == nil && n%5 == 0 {
			_, err = x.db.compact.Park(ctx, x.db.cuttable(), 20, true)
		}
		if err == nil && n%7 == 0 {
			err = x.db.head.Checkpoint()
		}
		if err == nil {
			_, err = x.db.compact.Retain(ctx, x.db.cuttable())
		}
		if err != nil {
			x.t.Errorf("maintenance: %v", err)
		}
		x.db.room.wake()
		x.cuts.Add(1)
	}
}

// steady makes finished invocations that nobody touches again, many of them in
// the same microseconds.
func steady(r *rand.Rand, n, from int, now time.Time, back time.Duration) (recs []Record) {
	for i := range n {
		at := now.Add(-time.Duration(r.Int64N(int64(back)))).Truncate(50 * time.Millisecond)
		e := task.Event{TaskID: fmt.Sprintf("steady-%d", from+i), State: oneOf(r, task.StateSuccess, task.StateFailure, task.StateRevoked), At: at.UnixMicro(),
			Worker: fmt.Sprint("w@h", i%2), TaskName: fmt.Sprint("shop.t", i%3), Args: fmt.Sprintf("('ORD-%d',)", i%4), Retries: task.RetriesUnknown}
		recs = append(recs, Record{Invocation: e.Invocation()})
	}
	return recs
}

// A walk through all pages, while everything moves under it, shows what was
// finished at its start and did not change, exactly once.
func TestWalksDuringEverything(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.HeadMaxRecords, o.Settle, o.WALSync = 20_000, 0, "never"
	o.RetentionTime = 4 * 24 * time.Hour
	db := start(t, o)
	defer func() { db.Close() }()
	r := rand.New(rand.NewPCG(3, 4))
	const back = 90 * time.Hour
	known := map[string]task.Invocation{}
	made := 0
	add := func(n int) {
		t.Helper()
		made += n
		for _, rec := range steady(r, n, made-n, c.now(), back) {
			known[rec.TaskID] = rec.Invocation
			if out, err := db.Append(context.Background(), []Record{rec}); err != nil || len(out.Refused)+out.Dropped > 0 {
				t.Fatal(out, err)
			}
		}
	}
	add(600)
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	add(300)
	x := &turmoil{t: t, db: db, c: c, more: make(chan struct{})}
	x.begin()
	defer x.end()
	words, err := text.Parse("ORD-2")
	if err != nil {
		t.Fatal(err)
	}
	filters := []Query{
		{},
		{Filter: task.Filter{TaskNames: []string{"shop.*"}}, Details: true},
		{Filter: task.Filter{TaskNames: []string{"shop.t1"}, States: []task.State{task.StateFailure}}},
		{Filter: task.Filter{States: []task.State{task.StateRevoked, task.StateSuccess}, Workers: []string{"w@h1"}}},
		{Text: words},
	}
	least := int64(16) // rounds of cutting: three times of each kind, one after the other
	if testing.Short() {
		least = 8
	}
	for last := false; !last; {
		last = x.cuts.Load() >= least || t.Failed()
		for i, q := range filters {
			for _, oldest := range []bool{false, true} {
				add(20) // some of them are in the head when the walk begins
				q.Oldest, q.Limit = oldest, 20+r.IntN(200)
				if i == 3 {
					now := c.now().UnixMicro()
					q.From, q.To = now-60*3600*1e6, now-20*3600*1e6
				}
				walked(t, db, q, known, func(page int) {
					if last && i == 1 && page == 1 && !oldest {
						c.add(30 * time.Hour) // the oldest days go in the middle of the walk
					}
				})
			}
		}
	}
	x.end()
	walked(t, db, Query{Limit: 100}, known, func(int) {})
}

// walked goes through all pages of a query and compares.
func walked(t *testing.T, db *DB, q Query, known map[string]task.Invocation, between func(page int)) {
	t.Helper()
	want := map[string]bool{}
	for id, v := range known {
		if q.matches(&v) {
			want[id] = true
		}
	}
	times := map[string]int{}
	var last task.Key
	for page := 1; ; page++ {
		p, err := db.Select(context.Background(), q)
		if err != nil || !p.Complete || len(p.Coverage.Unreadable) > 0 {
			t.Fatalf("page %d: %v %+v", page, err, p.Coverage)
		}
		for _, v := range p.Invocations {
			k := v.Key()
			if len(times) > 0 && !follows(k, last, q.Oldest) {
				t.Fatalf("page %d: %s is out of order", page, v.TaskID)
			}
			last = k
			times[v.TaskID]++
			if w, ok := known[v.TaskID]; ok && !q.matches(&w) {
				t.Fatalf("page %d: %s does not match %+v: %s", page, v.TaskID, q.Filter, task.AppendJSON(nil, &v))
			}
		}
		if p.Next == nil {
			break
		}
		q.After = p.Next
		between(page)
	}
	floor := db.head.Floor().Start()
	for id := range want {
		v := known[id]
		switch n := times[id]; {
		case n > 1, n == 0 && v.FinishedAt >= floor:
			t.Fatalf("oldest=%v limit=%d %+v: %s of %s is shown %d times (floor %s)", q.Oldest, q.Limit, q.Filter, id, stamp(v.FinishedAt), n, stamp(floor))
		}
	}
	for id, v := range known { // it is not there for the next walk
		if v.FinishedAt < floor {
			delete(known, id)
		}
	}
}
