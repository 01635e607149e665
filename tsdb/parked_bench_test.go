package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// benchParked opens a directory with PARKED_ROWS (100 000) parked invocations of
// 120 tasks, one in five waiting to be retried, with events all over the last 24
// hours.
func benchParked(b *testing.B) (*DB, *testClock) {
	rows, err := strconv.Atoi(os.Getenv("PARKED_ROWS"))
	if err != nil {
		rows = 100_000
	}
	c := &testClock{at: time.Date(2026, 11, 23, 20, 30, 0, 0, time.UTC)}
	o := testOptions(b.TempDir(), c)
	o.OpenTimeout = 48 * time.Hour
	db := start(b, o)
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	r := rand.New(rand.NewPCG(5, 8))
	zipf := rand.NewZipf(r, 1.2, 4, 119)
	now := c.now().UnixMicro()
	var cut uint64
	for n := 0; n < rows; {
		var invs []*task.Invocation
		for ; n < rows && len(invs) < 20_000; n++ {
			name := zipf.Uint64()
			at := now - int64(n)*rollup.Day.Micros()/int64(rows)
			e := task.Event{TaskID: fmt.Sprintf("%08x-0000-4000-8000-%012x", n, r.Uint32()), TaskName: fmt.Sprintf("shop.module_%d.task_%d", name%11, name), State: task.StateReceived, At: at,
				Worker: fmt.Sprint("celery@shop-worker-", r.IntN(200)), Queue: fmt.Sprint("queue-", name%6), ETA: at + 3_600_000_000, Kwargs: strings.Repeat("x", 200)}
			if n%5 == 0 {
				e.State, e.Retries, e.ExceptionType = task.StateRetry, 1, "Error"
			}
			v := e.Invocation()
			if n%5 == 0 {
				v.StartedAt = at - 1_000_000
				v.SentAt = v.StartedAt - r.Int64N(40_000)
			}
			invs = append(invs, &v)
		}
		cut++
		if err := db.compact.Parked().Put(context.Background(), cut, invs); err != nil {
			b.Fatal(err)
		}
	}
	return db, c
}

// BenchmarkTasksParked asks what a dashboard asks, with many open invocations on
// disk.
func BenchmarkTasksParked(b *testing.B) {
	db, c := benchParked(b)
	now := c.now().UnixMicro()
	ask := func(b *testing.B, from, to int64, name string, want int) {
		list, _, err := db.Tasks(context.Background(), from, to, name)
		if err != nil || len(list) != want {
			b.Fatal(len(list), err)
		}
	}
	end := rollup.Minute.Start(now) + rollup.Minute.Micros()
	from := rollup.Hour.Start(end - rollup.Day.Micros())
	each := func(name string, fn func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			began := cpuTime()
			for b.Loop() {
				fn(b)
			}
			b.ReportMetric(float64((cpuTime()-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
	began := cpuTime()
	ask(b, from, end, "", 120)
	b.Logf("the first takes %v of CPU", cpuTime()-began)
	each("all tasks", func(b *testing.B) { ask(b, from, end, "", 120) })
	each("one task", func(b *testing.B) { ask(b, from, end, "shop.module_1.task_1", 1) })
	each("hourly series", func(b *testing.B) {
		if _, _, err := db.Series(context.Background(), "shop.module_1.task_1", from, end, rollup.Hour); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkTasksInBoth is BenchmarkTasksParked when two in five of the parked have ended
// since, and are in the head.
func BenchmarkTasksInBoth(b *testing.B) {
	db, c := benchParked(b)
	now := c.now().UnixMicro()
	var recs []Record
	err := db.compact.Parked().Scan(context.Background(), nil, true, func(v *task.Invocation) (bool, error) {
		if task.HashID(v.TaskID)%5 < 2 {
			e := task.Event{TaskID: v.TaskID, TaskName: v.TaskName, State: task.StateSuccess, At: now, Worker: v.Worker, Queue: v.Queue}
			recs = append(recs, Record{Invocation: e.Invocation()})
		}
		return true, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	both := len(recs)
	for part := range slices.Chunk(recs, 5000) {
		mustAppend(b, db, part...)
	}
	end := rollup.Minute.Start(now) + rollup.Minute.Micros()
	from := rollup.Hour.Start(end - rollup.Day.Micros())
	ask := func() {
		if list, _, err := db.Tasks(context.Background(), from, end, ""); err != nil || len(list) != 120 {
			b.Fatal(len(list), err)
		}
	}
	ask()
	began := cpuTime()
	for b.Loop() {
		ask()
	}
	b.ReportMetric(float64((cpuTime()-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(both), "both")
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
