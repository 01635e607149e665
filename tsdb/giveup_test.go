package tsdb

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// What was parked and has had no event for the open timeout leaves the parked file,
// also when nothing else happens that makes room: it is brought back once, not in
// every round.
func TestParkedRunsAreGivenUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.OpenTimeout = time.Hour
	db := start(t, o)
	defer db.Close()
	var recs []Record
	for i := range 20 {
		recs = append(recs, started(fmt.Sprint(i), noon))
	}
	mustAppend(t, db, recs...)
	if n, err := db.compact.Park(ctx, db.cuttable(), 20, true); n != 20 || err != nil {
		t.Fatal(n, err)
	}
	c.add(2 * time.Hour)
	for range 2 {
		db.cutRound(ctx)
		c.add(5 * time.Second)
	}
	if parked, inHead := db.compact.Parked().Rows(), db.head.Stats().Open; parked != 0 || inHead != 0 {
		t.Errorf("%d are parked, %d are open in the head", parked, inHead)
	}
	for i := range 20 {
		v, _, err := db.get(ctx, fmt.Sprint(i))
		if err != nil || v.GivenUpAt == 0 {
			t.Errorf("%d: %v, %+v", i, err, v)
		}
	}
}

// A seal gives way to requests, not to what is in the head.
func TestBusy(t *testing.T) {
	t.Parallel()
	db := start(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	mustAppend(t, db, started("open", noon))
	if db.busy() {
		t.Error("busy without a request")
	}
	release, err := db.Reserve(1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !db.busy() {
		t.Error("not busy beside a body that is being decoded")
	}
	if release(); db.busy() {
		t.Error("busy after it")
	}
	view := db.catalog.View()
	defer view.Release()
	asked := false
	if _, err := db.Select(asking{t.Context(), func() { asked = asked || db.busy() }}, Query{Limit: 1}); err != nil || !asked {
		t.Errorf("not busy beside a query: %v", err)
	}
}

// asking is a context that calls a function whenever somebody looks at it.
type asking struct {
	context.Context
	fn func()
}

func (a asking) Err() error {
	a.fn()
	return a.Context.Err()
}
