package tsdb

import (
	"context"
	"fmt"
	"testing"

	"daybook/tsdb/rollup"
)

// endsAfter is a context that ends when it has been looked at n times.
type endsAfter struct {
	context.Context
	n int
}

func (c *endsAfter) Err() error {
	if c.n--; c.n < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// A summary that begins in the midst of an hour of a sealed day, and has not the
// time to read that hour, is answered after some tries.
func TestSumsGoOnWhereTheyWere(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync, o.HeadMaxRecords = "never", 10_000
	db := start(t, o)
	defer db.Close()
	const rows = 4000
	hour := rollup.Day.Start(noon.UnixMicro()) - rollup.Day.Micros() + 8*rollup.Hour.Micros()
	recs := make([]Record, rows)
	for i := range recs {
		v := finished(fmt.Sprint("t", i), noon).Invocation
		v.FinishedAt = hour + int64(i)*rollup.Hour.Micros()/rows
		v.UpdatedAt = v.FinishedAt
		v.Outcome.At = v.FinishedAt
		v.Transitions = nil
		recs[i].Invocation = v
	}
	mustAppend(t, db, recs...)
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	from := hour + 7*rollup.Minute.Micros()
	ask := func(ctx context.Context) (uint64, error) {
		set, _, err := sumSet(ctx, db, from, noon.UnixMicro(), rollup.Forever, sumOf{})
		if err != nil {
			return 0, err
		}
		n := uint64(0)
		for _, r := range set.All() {
			n += r.Total()
		}
		return n, nil
	}
	const most = 1 << 20
	whole := &endsAfter{Context: context.Background(), n: most}
	want, err := ask(whole)
	if err != nil || want != rows-rows*7/60-1 && want != rows-rows*7/60 {
		t.Fatal(want, err)
	}
	db.sums = sumCache{}
	for try := 1; ; try++ {
		got, err := ask(&endsAfter{Context: context.Background(), n: (most - whole.n) / 2})
		if err == nil {
			if got != want || try == 1 {
				t.Errorf("%d of %d at try %d", got, want, try)
			}
			return
		}
		if try == 20 {
			t.Fatalf("no end after %d tries: %v", try, err)
		}
	}
}
