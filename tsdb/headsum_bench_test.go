package tsdb

import (
	"context"
	"testing"
	"time"

	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// BenchmarkHeadQueries asks a daemon that has 100 000 finished invocations of the
// reference load in its head, as one has at full ingest, and nothing in files.
func BenchmarkHeadQueries(b *testing.B) {
	c := &testClock{at: noon}
	o := testOptions(b.TempDir(), c)
	o.HeadMaxRecords, o.HeadMaxBytes, o.WALSync = 1<<20, 1<<30, "never"
	db := start(b, o)
	defer db.Close()
	g := load.New(1, task.DayOf(noon.UnixMicro()), 200_000) // the first half of the day
	for range 200 {
		var recs []Record
		for range 500 {
			recs = append(recs, Record{Invocation: *g.Next()})
		}
		mustAppend(b, db, recs...)
	}
	ctx, now := context.Background(), noon.UnixMicro()
	day := now - (24 * time.Hour).Microseconds()
	for name, ask := range map[string]func() error{
		"tasks":  func() error { _, _, err := db.Tasks(ctx, day, now, ""); return err },
		"active": func() error { return db.active(ctx, "", func(string, int64) {}) },
		"failures": func() error {
			_, err := db.Select(ctx, Query{Filter: task.Filter{States: []task.State{task.StateFailure}}, Limit: 50})
			return err
		},
		"newest": func() error {
			_, err := db.Select(ctx, Query{Filter: task.Filter{TaskNames: []string{load.TaskName(3)}}, Limit: 50})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
