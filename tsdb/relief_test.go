package tsdb

import (
	"context"
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
