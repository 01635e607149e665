package ingest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/internal/brokers"
	"daybook/cmd/internal/ingest/redis"
	"daybook/tsdb"
)

// TestRestartOverRedis: what is published while Daybook restarts, however fast,
// is in a gap.
func TestRestartOverRedis(t *testing.T) {
	brokers.Need(t)
	server := brokers.Redis(t)
	o := tsdb.DefaultOptions()
	o.Dir = t.TempDir()
	open := func() (db *tsdb.DB, stop func()) {
		db, err := tsdb.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- db.Run(ctx) }()
		r := brokers.Start(t, ingest.Options{Sink: stored{db}, Gap: db.AddGap, LastSeen: db.LastSeen()}, func(o ingest.Options) (brokers.Consumer, error) { return redis.New(server.URL(), o) })
		r.Connects(t, 1)
		brokers.Until(t, 20*time.Second, "store is ready", func() bool { return db.Ready().Ready })
		return db, func() {
			db.Leave()
			r.Stop()
			cancel()
			if err := errors.Join(<-done, db.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	db, stop := open()
	if page, err := db.Select(t.Context(), tsdb.Query{Limit: 1}); err != nil || !page.Coverage.Complete {
		t.Fatalf("the first start: %+v %v", page.Coverage, err)
	}
	stop()
	nobody := time.Now().UnixMicro()
	db, stop = open()
	defer stop()
	page, err := db.Select(t.Context(), tsdb.Query{Limit: 1})
	if err != nil || len(page.Coverage.Gaps) == 0 || page.Coverage.Gaps[0].From > nobody || page.Coverage.Gaps[len(page.Coverage.Gaps)-1].To <= nobody {
		t.Fatalf("at %d: %+v %v", nobody, page.Coverage, err)
	}
}
