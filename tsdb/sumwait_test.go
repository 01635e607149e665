package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// asks are the questions that take sums, all of which count what is stored.
func asks(db *DB) map[string]func(ctx context.Context) (total uint64, cover Coverage, err error) {
	from, to := noon.Add(-36*time.Hour).UnixMicro(), noon.Add(12*time.Hour).UnixMicro()
	return map[string]func(ctx context.Context) (uint64, Coverage, error){
		"summary": func(ctx context.Context) (total uint64, cover Coverage, err error) {
			list, cover, err := db.Tasks(ctx, from, to, "")
			for _, s := range list {
				total += s.Total
			}
			return total, cover, err
		},
		"series": func(ctx context.Context) (total uint64, cover Coverage, err error) {
			points, cover, err := db.Series(ctx, "t", from, to, rollup.Hour)
			for _, p := range points {
				total += p.Total
			}
			return total, cover, err
		},
		"count": func(ctx context.Context) (uint64, Coverage, error) {
			n, err := db.Count(ctx, CountQuery{Filter: task.Filter{From: from, To: to}})
			return uint64(n.Total), n.Coverage, err
		},
	}
}

// A cut that hangs in the midst of a move keeps no sum waiting beyond its time.
func TestSumsBesideACutThatHangs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	hang, hanging := make(chan struct{}), make(chan struct{}, 1)
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.step = func(string) error {
		hanging <- struct{}{}
		<-hang
		return nil
	}
	db := start(t, o)
	defer db.Close()
	goOn := sync.OnceFunc(func() { close(hang) })
	defer goOn()
	mustAppend(t, db, finished("moves", noon.Add(-24*time.Hour)), finished("stays", noon.Add(-24*time.Hour)))
	cut := make(chan error, 1)
	again := func() { _, err := db.Cut(ctx, false); cut <- err }
	go again()
	<-hanging
	hang <- struct{}{}
	if err := <-cut; err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("moves", noon))
	go again()
	<-hanging // stored today, and still there yesterday
	for what, ask := range asks(db) {
		ended := make(chan error, 1)
		go func() {
			soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, _, err := ask(soon)
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: its time is up, and it goes on waiting for the cut", what)
		}
	}
	goOn()
	if err := <-cut; err != nil {
		t.Fatal(err)
	}
	for what, ask := range asks(db) {
		if n, cover, err := ask(ctx); err != nil || n != 2 || !cover.Complete {
			t.Errorf("%s: %d, %+v, %v", what, n, cover, err)
		}
	}
}

// A reader that hangs keeps no cut waiting: the cutter is paused for a moment
// only, and rows that move wait in the head as long as it has room.
func TestCutsBesideAReaderThatHangs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := testOptions(t.TempDir(), &testClock{at: noon})
	o.Settle, o.HeadMaxRecords = 0, 10
	db := start(t, o)
	defer db.Close()
	cut := func(all bool) int64 {
		t.Helper()
		res, err := db.compact.Cut(ctx, db.cuttable(), all, true)
		if err != nil {
			t.Fatal(err)
		}
		return res.Rows
	}
	early, late := noon.Add(-24*time.Hour), noon.Add(-time.Hour)
	mustAppend(t, db, finished("a", early), finished("b", early))
	if n := cut(false); n != 2 {
		t.Fatal(n)
	}
	if _, err := db.compact.Pause(ctx, time.Millisecond); err != nil { // and nobody resumes
		t.Fatal(err)
	}
	if _, err := db.compact.Pause(ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	// A reader that waits for the cutter waits as long as its time goes.
	resume, err := db.compact.Pause(ctx, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.compact.Pause(ended, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a second pause: %v", err)
	}
	resume()
	release, err := db.compact.HoldMoves(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("a", late), finished("new", late))
	moves := db.catalog.Moves()
	if n := cut(false); n != 1 || db.head.Get("a") == nil || db.catalog.Moves() != moves {
		t.Errorf("%d are cut beside a reader, %v", n, db.head.Get("a"))
	}
	if n := cut(true); n != 1 || db.catalog.Moves() == moves {
		t.Errorf("%d are cut when everything is to be", n)
	}
	var more []Record
	for i := range 8 {
		more = append(more, started(fmt.Sprint("open", i), noon))
	}
	mustAppend(t, db, append(more, finished("b", late))...)
	if n := cut(false); n != 0 {
		t.Errorf("%d are cut of a head with room", n)
	}
	if n, err := db.relieve(ctx); n == 0 || err != nil || db.head.Get("b") != nil {
		t.Errorf("%d have left a head that is full, %v, %v", n, err, db.head.Get("b"))
	}
	release()
	for i := range more {
		more[i] = finished(more[i].TaskID, noon)
	}
	mustAppend(t, db, more...)
	cut(false)
	reader, leave := context.WithCancel(ctx)
	if _, err := db.compact.HoldMoves(reader); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("a", noon))
	if n := cut(false); n != 0 {
		t.Errorf("%d are cut beside a reader", n)
	}
	leave() // as a request whose time is up, and which hangs
	until(t, "the rows of a reader whose time is up are cut", func() bool { return cut(false) == 1 })
}

// movingContext lets a row move whenever somebody asks whether there is time left.
type movingContext struct {
	context.Context
	db    *DB
	times *int // how often
}

func (c movingContext) Err() error {
	if *c.times > 0 {
		*c.times--
		c.db.catalog.NoteMove()
	}
	return nil
}

// Where rows move again and again while an answer is made, it says that it may
// not be exact; and where they move once, it is made again.
func TestAnswersWhileRowsMove(t *testing.T) {
	t.Parallel()
	db := start(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	mustAppend(t, db, finished("a", noon.Add(-24*time.Hour)), finished("b", noon))
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	questions := asks(db)
	questions["rows"] = func(ctx context.Context) (uint64, Coverage, error) {
		n, err := db.Count(ctx, CountQuery{Filter: task.Filter{Workers: []string{"w@h"}}})
		if !n.Complete {
			t.Error("the time of a count did not run out")
		}
		return uint64(n.Total), n.Coverage, err
	}
	questions["listing"] = func(ctx context.Context) (uint64, Coverage, error) {
		page, err := db.Select(ctx, Query{Limit: 10})
		if !page.Complete || page.Next != nil {
			t.Error("the time of a listing did not run out")
		}
		return uint64(len(page.Invocations)), page.Coverage, err
	}
	for what, ask := range questions {
		for _, times := range []int{1, 1 << 30} {
			left := times
			n, cover, err := ask(movingContext{context.Background(), db, &left})
			if always := left > 0; err != nil || n != 2 || cover.Inexact != always || cover.Complete == always || slices.Contains(cover.Unreadable, inexact) {
				t.Errorf("%s, %d moves: %d, %+v, %v", what, times-left, n, cover, err)
			}
		}
	}
}
