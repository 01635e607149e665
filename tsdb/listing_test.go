package tsdb

import (
	"context"
	"reflect"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// What is told of rows and bytes: every id counts once, wherever it is, or the count is
// not said to be exact; and who only reads is told what the daemon tells.
func TestRowsCountOnce(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	defer db.Close()
	ctx := context.Background()
	told := func(what string, want int64) {
		t.Helper()
		r, err := OpenReadOnly(o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for i, x := range []*DB{db, r} {
			if h := x.Health(); h.Rows != want || !h.RowsExact || h.WALBytes != db.Health().WALBytes || h.WALBytes == 0 {
				t.Errorf("%s, %d: %d rows, exact %v, log of %d bytes; want %d", what, i, h.Rows, h.RowsExact, h.WALBytes, want)
			}
		}
		own, err := db.Blocks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Blocks(ctx); err != nil || !reflect.DeepEqual(own, got) {
			t.Errorf("%s: who only reads is told\n%+v, the daemon\n%+v: %v", what, got, own, err)
		}
	}
	mustAppend(t, db, started("a", noon))
	told("in the head", 1)
	if n, err := db.compact.Park(ctx, db.cuttable(), 1, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	told("parked", 1)
	mustAppend(t, db, started("a", noon.Add(time.Second)))
	told("parked and in the head", 1)
	mustAppend(t, db, finished("a", noon.Add(2*time.Second)), finished("b", noon))
	told("finished", 2)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	told("cut", 2)
	mustAppend(t, db, finished("a", noon.Add(3*time.Second)), finished("c", noon))
	told("cut and in the head", 3)
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	told("cut again", 3)
}

// A day of which only parked invocations are known is a day.
func TestDumpOfADayThatIsParked(t *testing.T) {
	c := &testClock{at: noon}
	db := start(t, testOptions(t.TempDir(), c))
	defer db.Close()
	ctx := context.Background()
	mustAppend(t, db, started("a", noon.Add(-48*time.Hour)))
	if n, err := db.compact.Park(ctx, db.cuttable(), 1, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	n := 0
	count := func(*task.Invocation) error { n++; return nil }
	if err := db.Dump(ctx, []string{"2026-11-21"}, Query{}, count); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	for _, none := range []string{"2026-11-20", "2026-11-22"} {
		if err := db.Dump(ctx, []string{none}, Query{}, count); err == nil {
			t.Errorf("%s is a day", none)
		}
	}
}
