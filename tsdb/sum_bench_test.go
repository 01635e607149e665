package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// sumDays is how many sealed days the benchmarks of sums read.
const sumDays = 30

// benchDays opens a directory of sumDays sealed days of 120 tasks, SUM_ROWS
// (50 000) invocations each; the clock stands 90 minutes into the day after.
func benchDays(b *testing.B) (*DB, *testClock) {
	rows, err := strconv.Atoi(os.Getenv("SUM_ROWS"))
	if err != nil {
		rows = 50_000
	}
	dir := b.TempDir()
	for _, sub := range []string{"days", "live", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	first := task.DayOf(time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC).UnixMicro())
	for i := range sumDays {
		benchDay(b, dir, first+task.Day(i), uint64(i+1), rows)
	}
	c := &testClock{at: time.UnixMicro((first + sumDays).Start()).Add(90 * time.Minute)}
	o := testOptions(dir, c)
	o.RetentionTime = 0
	db := start(b, o)
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db, c
}

// benchDay writes one sealed day.
func benchDay(b *testing.B, dir string, day task.Day, cut uint64, rows int) {
	l, err := blocks.CreateLive(filepath.Join(dir, "live"), day, int(cut))
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(cut, 5))
	zipf := rand.NewZipf(r, 1.2, 4, 119)
	batch := blocks.Batch{Cut: cut}
	for i := range rows {
		n := zipf.Uint64()
		at := day.Start() + int64(i)*rollup.Day.Micros()/int64(rows)
		e := task.Event{TaskID: fmt.Sprintf("%d-%d", day, i), TaskName: fmt.Sprintf("shop.module_%d.task_%d", n%11, n), State: task.StateSuccess, At: at,
			Worker: fmt.Sprint("celery@shop-worker-", r.IntN(200)), Queue: fmt.Sprint("queue-", n%6), Retries: int32(r.IntN(3) / 2),
			HasRuntime: true, Runtime: int64(2000 + r.ExpFloat64()*80_000)}
		if r.IntN(20) == 0 {
			e.State, e.ExceptionType = task.StateFailure, fmt.Sprint("Error", r.IntN(4))
		}
		v := e.Invocation()
		v.StartedAt = at - e.Runtime
		v.SentAt = v.StartedAt - r.Int64N(40_000)
		batch.Put = append(batch.Put, blocks.Put{Inv: &v})
	}
	if err := l.Apply(context.Background(), batch); err != nil {
		b.Fatal(err)
	}
	tmp, _, err := blocks.BuildSealed(context.Background(), filepath.Join(dir, "tmp"), blocks.SealInput{Day: day, Generation: 1, Live: l, At: time.UnixMicro(day.End())})
	if err == nil {
		_, err = blocks.PublishSealed(tmp, filepath.Join(dir, "days"), day, 1)
	}
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for _, side := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(l.Path() + side); err != nil && !os.IsNotExist(err) {
			b.Fatal(err)
		}
	}
}

// BenchmarkSums asks what a dashboard asks of 30 sealed days: whole days, and
// the last 30 days up to now, whose edges are hours and rows.
func BenchmarkSums(b *testing.B) {
	db, c := benchDays(b)
	now := c.now().UnixMicro()
	midnight := rollup.Day.Start(now)
	month := int64(sumDays) * rollup.Day.Micros()
	ctx := context.Background()
	tasks := func(name string, from, to int64) {
		b.Run("tasks/"+name, func(b *testing.B) {
			for b.Loop() {
				list, _, err := db.Tasks(ctx, from, to, "")
				if err != nil || len(list) != 120 {
					b.Fatal(len(list), err)
				}
			}
		})
	}
	b.Run("tasks/the first after a start", func(b *testing.B) {
		o := db.opts
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			b.StopTimer()
			first, err := OpenReadOnly(o)
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			list, _, err := first.Tasks(ctx, midnight-month, midnight, "")
			if err != nil || len(list) != 120 {
				b.Fatal(len(list), err)
			}
			b.StopTimer()
			if err := first.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		db = start(b, o)
	})
	tasks("30 whole days", midnight-month, midnight)
	tasks("30 days to now", now+1-month, now+1)
	tasks("24 hours to now", now+1-rollup.Day.Micros(), now+1)
	for _, name := range []string{"shop.module_0.task_0", "shop.module_9.task_119"} {
		b.Run("hourly series/"+name, func(b *testing.B) {
			for b.Loop() {
				points, _, err := db.Series(ctx, name, midnight-month, midnight, rollup.Hour)
				if err != nil || len(points) != sumDays*24 {
					b.Fatal(len(points), err)
				}
			}
		})
	}
	b.Run("one task", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := db.Tasks(ctx, midnight-month, midnight, "shop.module_0.task_0"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("count by state, daily", func(b *testing.B) {
		q := CountQuery{By: "state", Step: rollup.Day}
		q.From, q.To = midnight-month, midnight
		for b.Loop() {
			if _, err := db.Count(ctx, q); err != nil {
				b.Fatal(err)
			}
		}
	})
}
