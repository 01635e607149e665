package tsdb

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// growing is what writers tell in two steps of every run: it fails yesterday, and
// its second attempt succeeds today, or later yesterday, which changes a row that
// may be cut, sealed, or moving.
type growing struct {
	db       *DB
	midnight time.Time
	// How many first and second steps were sent, and acknowledged.
	sent, acked [2]atomic.Int64
	// Of second steps, those that leave yesterday.
	leave, left atomic.Int64
}

// step is the first (0) or second (1) step of the nth run, which stays in its day if n is even.
func (g *growing) step(n, step int) Record {
	e := task.Event{TaskID: fmt.Sprint("run", n), TaskName: "t", Worker: "w@h", Retries: int32(step), HasRuntime: true, Runtime: 100_000}
	e.State, e.At = task.StateFailure, g.midnight.Add(-time.Duration(n%7+1)*time.Minute).UnixMicro()
	if step == 1 {
		e.State, e.Runtime, e.At = task.StateSuccess, 400_000, e.At+30*1e6
		if n%2 == 1 {
			e.At = g.midnight.Add(time.Duration(n%5) * time.Minute).UnixMicro()
		}
	}
	return Record{Invocation: e.Invocation()}
}

func (g *growing) tell(ctx context.Context, first, end, step int) error {
	var recs []Record
	leave := int64(0)
	for n := first; n < end; n++ {
		recs = append(recs, g.step(n, step))
		leave += int64(n % 2)
	}
	g.sent[step].Add(int64(len(recs)))
	if step == 1 {
		g.leave.Add(leave)
	}
	if _, err := g.db.Append(ctx, recs); err != nil {
		return err
	}
	g.acked[step].Add(int64(len(recs)))
	if step == 1 {
		g.left.Add(leave)
	}
	return nil
}

// bounds are what an answer must lie between.
type bounds struct{ runs, second, today [2]int64 }

// around asks, and says what was acknowledged before it and sent at its end.
func (g *growing) around(ask func() error) (b bounds, err error) {
	b.runs[0], b.second[0], b.today[0] = g.acked[0].Load(), g.acked[1].Load(), g.left.Load()
	err = ask()
	b.runs[1], b.second[1], b.today[1] = g.sent[0].Load(), g.sent[1].Load(), g.leave.Load()
	return b, err
}

func within(n int64, b [2]int64) bool { return b[0] <= n && n <= b[1] }

// check compares one answer of each kind with the bounds.
func (g *growing) check(ctx context.Context) error {
	from, to := g.midnight.Add(-24*time.Hour).UnixMicro(), g.midnight.Add(24*time.Hour).UnixMicro()
	edge := from + 1 // rows, too
	var list []TaskSummary
	var cover Coverage
	b, err := g.around(func() (err error) { list, cover, err = g.db.Tasks(ctx, edge, to, ""); return err })
	s := TaskSummary{}
	if len(list) > 0 {
		s = list[0]
	}
	if err != nil || !cover.Complete || len(list) > 1 || !within(int64(s.Total), b.runs) || !within(int64(s.Success), b.second) || s.Retries != s.Success ||
		s.Failure+s.Success != s.Total || s.Runtime.Count != s.Total || s.Total > 0 && math.Abs(s.Runtime.Mean*float64(s.Total)-100*float64(s.Failure)-400*float64(s.Success)) > 1e-3 {
		return fmt.Errorf("summary: %+v of %+v, %+v, %w", list, b, cover, err)
	}
	if b.runs[0] == b.runs[1] && b.second[0] == b.second[1] && s.Total > 0 { // at rest: exact
		for _, q := range []struct{ at, got float64 }{{0.5, s.Runtime.P50}, {0.95, s.Runtime.P95}} {
			want := 400.0
			if math.Floor(q.at*float64(s.Total-1)) < float64(s.Failure) {
				want = 100
			}
			if math.Abs(q.got-want) > 0.0101*want {
				return fmt.Errorf("percentile %v is %v, want %v: %d of %d failed", q.at, q.got, want, s.Failure, s.Total)
			}
		}
	}
	for _, step := range []rollup.Width{rollup.Minute, rollup.Hour} {
		var points []rollup.Point
		b, err = g.around(func() (err error) { points, cover, err = g.db.Series(ctx, "t", from, to, step); return err })
		var all, today, success, retries int64
		for _, p := range points {
			all, success, retries = all+int64(p.Total), success+int64(p.Success), retries+int64(p.Retries)
			if p.At >= g.midnight.UnixMicro() {
				today += int64(p.Total)
			}
		}
		if err != nil || !cover.Complete || !within(all, b.runs) || !within(success, b.second) || !within(today, b.today) || retries != success {
			return fmt.Errorf("series of %d s: %d, %d today, %d succeeded, %d retries, of %+v, %+v, %w", step, all, today, success, retries, b, cover, err)
		}
	}
	for what, f := range map[string]task.Filter{"rollups": {From: from, To: to}, "rows": {From: from, To: to, Workers: []string{"w@h"}}} {
		var n Count
		b, err = g.around(func() (err error) { n, err = g.db.Count(ctx, CountQuery{Filter: f, By: "state"}); return err })
		var success int64
		for _, k := range n.Groups {
			if k.Key == "SUCCESS" {
				success = k.Count
			}
		}
		if err != nil || !n.Coverage.Complete || !n.Complete || !within(n.Total, b.runs) || !within(success, b.second) {
			return fmt.Errorf("count of %s: %+v of %+v, %w", what, n, b, err)
		}
	}
	for _, oldest := range []bool{false, true} {
		var page Page
		b, err = g.around(func() (err error) { page, err = g.db.Select(ctx, Query{Limit: 1000, Oldest: oldest}); return err })
		ids := map[string]bool{}
		for _, v := range page.Invocations {
			ids[v.TaskID] = true
		}
		if err != nil || !page.Complete || page.Coverage.Inexact || len(ids) != len(page.Invocations) || !within(int64(len(ids)), b.runs) {
			return fmt.Errorf("listing, oldest %v: %d rows of %d ids, %+v, %+v, %w", oldest, len(page.Invocations), len(ids), b, page.Coverage, err)
		}
	}
	return nil
}

// What summaries, series, counts and listings say lies, at every moment, between
// what was acknowledged before they were asked for and what was sent by their end,
// and is of one moment; at rest it is exact. Meanwhile rows are cut, change when they are cut,
// move over midnight, are sealed and sealed again.
func TestSumsBesideCuts(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon.Add(12*time.Hour + 30*time.Minute)}
	o := testOptions(t.TempDir(), c)
	o.CutInterval, o.Settle, o.SealDelay, o.WALSync = time.Millisecond, 0, 0, "never"
	g := &growing{db: running(t, o), midnight: noon.Add(12 * time.Hour)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			t.Error(err)
			cancel()
		}
	}
	rounds, chunks := 4, 12
	if testing.Short() {
		rounds = 2
	}
	const chunk = 5
	done := make(chan struct{})
	var others sync.WaitGroup
	again := func(fn func() error) {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					fail(fn())
				}
			}
		})
	}
	again(func() error { _, err := g.db.compact.Seal(ctx, true); return err })
	for range 2 {
		again(func() error { return g.check(ctx) })
	}
	for round := range rounds {
		var writers sync.WaitGroup
		for w := range 2 {
			writers.Go(func() {
				for i := range chunks {
					first := ((round*2+w)*chunks + i) * chunk
					fail(g.tell(ctx, first, first+chunk, 0))
					if before := first - 3*chunk; i >= 3 { // those are cut by now, or are being cut
						fail(g.tell(ctx, before, before+chunk, 1))
					}
				}
			})
		}
		writers.Wait()
		if err := g.check(ctx); err != nil { // at rest, but for the cuts
			fail(fmt.Errorf("round %d: %w", round, err))
		}
	}
	close(done)
	others.Wait()
}
