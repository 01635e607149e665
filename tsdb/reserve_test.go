package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A body that does not fit drops what makes it fit, also where the head alone
// would have room to spare; one for which nothing would be gets no records dropped.
func TestReserveBesideAnother(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.HeadMaxBytes, o.Settle = 1<<20, time.Hour
	db := start(t, o)
	defer db.Close()
	for i := 0; db.head.Held() < o.HeadMaxBytes/10*6; i++ {
		rec := finished(fmt.Sprint(i), noon)
		rec.Outcome.Result = strings.Repeat("x", 10_000)
		mustAppend(t, db, rec)
	}
	other, err := db.Reserve(1000, OverflowWait)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	reserve := func(bytes int64) error {
		t.Helper()
		go func() {
			release, err := db.Reserve(bytes, OverflowWait)
			if err == nil {
				release()
			}
			ended <- err
		}()
		until(t, "there is an answer", func() bool { return len(ended) == 1 })
		return <-ended
	}
	for _, much := range []int64{o.HeadMaxBytes / 10 * 6, 2 * o.HeadMaxBytes} {
		if err := reserve(much); !errors.Is(err, ErrOverloaded) || db.dropped.Load() != 0 {
			t.Errorf("%d bytes: %v, %d dropped in vain", much, err, db.dropped.Load())
		}
	}
	if err := reserve(o.HeadMaxBytes / 20 * 9); err != nil || db.dropped.Load() == 0 {
		t.Errorf("%v, %d dropped", err, db.dropped.Load())
	}
	other()
	if records, _ := db.head.Size(); records == 0 {
		t.Error("all were dropped")
	}
}

// A request whose time is over while it waits for room is told that there is
// none, and there is a gap.
func TestTimeIsOver(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.OnOverflow, o.HeadMaxRecords, o.Settle = OverflowReject, 1, time.Hour
	db := start(t, o)
	defer db.Close()
	mustAppend(t, db, finished("a", noon))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := db.Append(ctx, []Record{finished("b", noon)}); !errors.Is(err, ErrOverloaded) {
		t.Fatal(err)
	}
	first, err := db.Reserve(1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer first()
	if _, err := db.Reserve(o.HeadMaxBytes, 0); !errors.Is(err, ErrOverloaded) {
		t.Error(err)
	}
	page, err := db.Select(context.Background(), Query{Limit: 5})
	if err != nil || len(page.Invocations) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	if !slices.ContainsFunc(page.Coverage.Gaps, func(g task.Gap) bool { return strings.Contains(g.Cause, "head full") }) {
		t.Errorf("no gap: %+v", page.Coverage.Gaps)
	}
}
