package tsdb

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// withLegacy is a DB with a legacy file, and the file's rows.
func withLegacy(t *testing.T, o Options) (db *DB, rows []task.Invocation) {
	t.Helper()
	o.Legacy, o.RetentionTime = []string{fixture(t, "gen1-small.db", t.TempDir())}, 0
	db = start(t, o)
	rows = (&model{t: t, db: db}).all(Query{Limit: 1000})
	if len(rows) == 0 {
		t.Fatal("the legacy file has no rows")
	}
	return db, rows
}

// Look-ups by id, and events that may be of the file, do not wait for readers that
// have all the connections there are for scans.
func TestLegacyLookupBesideScans(t *testing.T) {
	db, rows := withLegacy(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	const scans = 4
	var wg sync.WaitGroup
	reading, release := make(chan struct{}, scans+2), make(chan struct{})
	for range cap(reading) { // some wait
		wg.Go(func() {
			first := sync.OnceFunc(func() { reading <- struct{}{}; <-release })
			err := db.legacy.files[0].Select(context.Background(), blocks.Select{Skip: func(string, uint64) bool { first(); return false }},
				func(*task.Invocation) (bool, error) { return false, nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range scans {
		<-reading
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if v, err := db.Get(ctx, rows[0].TaskID); err != nil || v.RowTime() != rows[0].RowTime() {
		t.Errorf("a look-up: %v %v", v, err)
	}
	if _, err := db.Append(ctx, []Record{started(rows[1].TaskID, noon)}); err != nil {
		t.Errorf("an event: %v", err)
	}
	close(release)
	wg.Wait()
}

// An id that the file certainly does not hold is not looked for in it.
func TestLegacyLookupOfOtherIDs(t *testing.T) {
	db, rows := withLegacy(t, testOptions(t.TempDir(), &testClock{at: noon}))
	defer db.Close()
	computeSums(t, db, func() {})
	if err := db.legacy.files[0].Close(); err != nil { // every look-up in it fails
		t.Fatal(err)
	}
	var missing *NotFoundError
	if _, err := db.Get(context.Background(), "of nobody"); !errors.As(err, &missing) || len(missing.Coverage.Unreadable) > 0 {
		t.Errorf("an id that it does not hold: %v, %+v", err, missing)
	}
	missing = nil
	if _, err := db.Get(context.Background(), rows[0].TaskID); !errors.As(err, &missing) || len(missing.Coverage.Unreadable) != 1 {
		t.Errorf("one that it holds: %v, %+v", err, missing)
	}
}
