package tsdb

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// The coverage of an answer over days with a hundred gaps each, beside a query
// that finds nothing.
func BenchmarkCoverage(b *testing.B) {
	c := &testClock{at: noon}
	o := testOptions(b.TempDir(), c)
	o.RetentionTime, o.WALSync = 0, "never"
	db := start(b, o)
	defer db.Close()
	const days = 30
	for d := range days {
		at := noon.Add(-time.Duration(d) * 24 * time.Hour).UnixMicro()
		for i := range int64(100) {
			db.AddGap(task.Gap{Source: "redis://h/0", Cause: "broker lost", From: at + i*1e6, To: at + i*1e6 + 5e5, Count: 1})
		}
	}
	if _, err := db.Cut(context.Background(), false); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 3, days} {
		f := task.Filter{From: noon.Add(-time.Duration(n) * 24 * time.Hour).UnixMicro()}
		b.Run(fmt.Sprint("days=", n), func(b *testing.B) {
			for b.Loop() {
				if got := db.coverage(&f, nil); got.Complete {
					b.Fatal("complete")
				}
			}
		})
	}
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			if _, err := db.Get(context.Background(), "nobody"); !errors.Is(err, ErrNotFound) {
				b.Fatal(err)
			}
		}
	})
}
