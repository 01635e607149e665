package tsdb

import (
	"context"
	"errors"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// besideLegacy is a DB with a legacy file and days that hold rows between those of
// the file and some of its tasks in a later state, and both in order, oldest first.
func besideLegacy(t *testing.T) (db *DB, all []task.Invocation) {
	t.Helper()
	o := testOptions(t.TempDir(), &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)})
	o.Legacy, o.RetentionTime, o.MaxPast = []string{fixture(t, "gen3-small.db", t.TempDir())}, 0, 1000*24*time.Hour
	db = start(t, o)
	m := &model{t: t, db: db}
	var recs []Record
	for i, v := range m.all(Query{Limit: 1000}) {
		switch at := time.UnixMicro(v.RowTime()); {
		case i%20 == 0:
			recs = append(recs, finished(v.TaskID, at.Add(time.Hour)))
		case i%3 == 0:
			recs = append(recs, finished("beside "+v.TaskID, at.Add(time.Microsecond)))
		}
	}
	mustAppend(t, db, recs...)
	if _, err := db.Cut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	return db, m.all(Query{Limit: 1000, Oldest: true})
}

// A walk whose time runs out has given out what comes first, without a gap: the next
// page goes on behind it.
func TestTimeRunsOutBesideLegacy(t *testing.T) {
	t.Parallel()
	db, all := besideLegacy(t)
	defer db.Close()
	for _, oldest := range []bool{true, false} {
		for n := 1; n < len(all); n += 1 + n/10 {
			ctx, cancel := context.WithCancel(context.Background())
			given := 0
			_, err := db.walk(ctx, Query{Oldest: oldest}, len(all)+1, func(v *task.Invocation) (bool, error) {
				want := &all[given%len(all)]
				if !oldest {
					want = &all[len(all)-1-given%len(all)]
				}
				if v.TaskID != want.TaskID || v.RowTime() != want.RowTime() {
					t.Fatalf("oldest %v, ended at %d: row %d is %s of %s, want %s of %s", oldest, n, given, v.TaskID, stamp(v.RowTime()), want.TaskID, stamp(want.RowTime()))
				}
				if given++; given == n {
					cancel()
				}
				return true, nil
			})
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("oldest %v, ended at %d, %d of %d given: %v", oldest, n, given, len(all), err)
			}
		}
	}
}
