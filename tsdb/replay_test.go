package tsdb

import (
	"fmt"
	"testing"
	"time"
)

// A replay that cuts as it goes must not give its cuts the ids of records that
// it has not read yet: one of a cut that a crash prevented would then look done.
func TestReplayCutsUnderNewIDs(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	for i := range 60 {
		mustAppend(t, db, finished(fmt.Sprint("f", i), noon.Add(time.Duration(i)*time.Millisecond)))
	}
	ready := db.cuttable().Ready(true, 100)
	cut := db.cuttable().BeginCut(ready[0].Inv.Day(), ready[59:], true)
	if err := db.cuttable().SyncCut(cut); err != nil || len(cut.Rows) != 1 {
		t.Fatal(len(cut.Rows), err)
	}
	want := contents(t, db)
	db.crash(t)
	for _, most := range []int64{20, 10} {
		o.HeadMaxRecords = most
		db = start(t, o)
		sameContents(t, fmt.Sprint("a head of ", most), contents(t, db), want)
		db.crash(t)
	}
}
