package tsdb

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A request whose time runs out is refused for what it waited for, and a gap
// remembers it: a full head is not a disk that does not answer, and looking up
// what is stored is part of it.
func TestLateRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, source string
		policy       OverflowPolicy
		want         error
		recs         []Record
	}{
		{"head", "head", OverflowReject, ErrOverloaded, []Record{finished("a", noon), finished("b", noon)}},
		{"head, not whole", "head", OverflowDropOldest, ErrOverloaded, []Record{finished("a", noon)}},
		{"time", "disk", OverflowReject, ErrStalled, []Record{{Invocation: task.Invocation{TaskID: "open0"}, NoTime: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(t.TempDir(), &testClock{at: noon})
			o.OnOverflow, o.HeadMaxRecords = c.policy, 20
			db := start(t, o)
			defer db.Close()
			for i := range 20 {
				mustAppend(t, db, started(fmt.Sprint("open", i), noon))
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			if c.source == "disk" { // it is asked for what is parked
				if n, err := db.compact.Park(context.Background(), db.cuttable(), 20, true); n == 0 || err != nil {
					t.Fatal(n, err)
				}
				cancel()
				ctx, cancel = context.WithDeadline(context.Background(), time.Now())
			}
			defer cancel()
			if _, err := db.Append(ctx, c.recs); !errors.Is(err, c.want) {
				t.Fatal(err)
			}
			db.tellLosses()
			gaps := db.head.Gaps()
			if len(gaps) != 1 || gaps[0].Source != c.source {
				t.Errorf("%+v", gaps)
			}
		})
	}
}
