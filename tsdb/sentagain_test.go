package tsdb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What is sent again of rows that days hold leaves everything as it is: nothing in the
// head or its log, no new row, no overlay over a sealed day. What says something new is
// written, in the same request, and is there after a crash.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	for _, policy := range []OverflowPolicy{OverflowDropOldest, OverflowReject} {
		t.Run(string(policy), func(t *testing.T) {
			o := testOptions(t.TempDir(), &testClock{at: noon})
			reg := prometheus.NewRegistry()
			o.OnOverflow, o.Metrics = policy, reg
			db := start(t, o)
			ctx := context.Background()
			var recs []Record
			for i := range 40 {
				at := noon.Add(-time.Duration(i%2) * 24 * time.Hour)
				recs = append(recs, started(fmt.Sprint("id", i), at.Add(-time.Second)), finished(fmt.Sprint("id", i), at))
			}
			mustAppend(t, db, recs...)
			if _, err := db.Cut(ctx, true); err != nil { // yesterday is sealed
				t.Fatal(err)
			}
			want, files, log := contents(t, db), fmt.Sprint(db.blocks()), db.wal.Bytes()
			for range 3 {
				mustAppend(t, db, recs...)
				mustAppend(t, db, recs[0])
			}
			if n, _ := db.head.Size(); n != 0 || db.wal.Bytes() != log {
				t.Errorf("%d are in the head, %d bytes of log of %d", n, db.wal.Bytes(), log)
			}
			if _, err := db.Cut(ctx, false); err != nil {
				t.Fatal(err)
			}
			if now := fmt.Sprint(db.blocks()); now != files {
				t.Errorf("the files are others:\n%s\nbefore\n%s", now, files)
			}
			sameContents(t, "sent again", contents(t, db), want)
			if n := value(t, reg, "daybook_known_total"); n != 3*81 {
				t.Errorf("daybook_known_total is %v", n)
			}

			mustAppend(t, db, append(recs, started("id3", noon.Add(-25*time.Hour)), started("new", noon))...)
			if n, _ := db.head.Size(); n != 2 {
				t.Errorf("%d are in the head, two had something new", n)
			}
			db.crash(t)
			o.Metrics = nil
			db = start(t, o)
			defer db.Close()
			got := contents(t, db)
			if len(got) != len(want)+1 || len(got["id3"].Transitions) != 3 {
				t.Errorf("%d rows after a crash, %+v", len(got), got["id3"])
			}
		})
	}
}
