//go:build faults

package tsdb

import (
	"context"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// askedContext tells when somebody is about to wait for its end.
type askedContext struct {
	context.Context
	asked chan struct{}
	once  *sync.Once
}

func (c askedContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.asked) })
	return c.Context.Done()
}

// A cut while a day is being sealed waits for that, then cuts what it was held up
// for, and seals it again if it is to.
func TestOrderOfCutAndSeal(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer db.Close()
	yesterday := noon.Add(-24 * time.Hour)
	mustAppend(t, db, finished("a", yesterday))
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	c.add(time.Minute) // quiet since
	begun, goOn := make(chan struct{}), make(chan struct{})
	var first sync.Once
	defer fault.Set(func(op, path string) error {
		if op == "point" && path == "seal.begun" {
			first.Do(func() {
				close(begun)
				<-goOn
			})
		}
		return nil
	})()
	var sealer sync.WaitGroup
	sealer.Go(func() { db.sealRound(context.Background()) })
	<-begun
	mustAppend(t, db, finished("late", yesterday))
	type result struct {
		CutResult
		err error
	}
	done, ctx := make(chan result, 1), askedContext{context.Background(), make(chan struct{}), &sync.Once{}}
	go func() {
		res, err := db.Cut(ctx, true)
		done <- result{res, err}
	}()
	var got result
	select {
	case <-ctx.asked:
		close(goOn)
		got = <-done
	case got = <-done:
		close(goOn)
		t.Error("it did not wait")
	}
	sealer.Wait()
	db.compact.Settle()
	if got.err != nil || got.Rows != 1 || len(got.Days) != 1 || got.Days[0] != task.DayOf(yesterday.UnixMicro()).String() {
		t.Errorf("%+v", got)
	}
	if days := dayNames(t, o.Dir); days != "2026-11-22.2" {
		t.Errorf("days: %s", days)
	}
	for _, b := range db.blocks() {
		if b.Kind == KindLive && b.Rows > 0 {
			t.Errorf("%+v", b)
		}
	}
}
