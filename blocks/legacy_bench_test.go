package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// bigLegacy makes a file of many rows over fifteen days: one table, or one for
// each day; of a hundred, one is a retry and five have failed.
func bigLegacy(tb testing.TB, path string, rows int, daily bool) (ids []string) {
	tb.Helper()
	c, err := openFile(path, modeCreate)
	if err != nil {
		tb.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	const days = 15
	start := float64(task.DayOf(1795132800_000_000).Start()/1e6) - days*86400
	table := func(day int) string {
		if !daily {
			return ""
		}
		return "_" + strings.ReplaceAll(task.DayOf(int64((start+float64(day)*86400)*1e6)).String(), "-", "")
	}
	err = c.transaction(func() error {
		for day := range days {
			s := table(day)
			if day == 0 || daily {
				for _, text := range strings.Split(fmt.Sprintf(`CREATE TABLE invocations%[1]s (task_id TEXT PRIMARY KEY, task_name TEXT NOT NULL, state TEXT NOT NULL, received_at REAL, started_at REAL, finished_at REAL, runtime_ms REAL, worker TEXT, queue TEXT, exception_type TEXT);
CREATE INDEX i%[1]s_finished ON invocations%[1]s (finished_at);CREATE INDEX i%[1]s_name ON invocations%[1]s (task_name, finished_at);
CREATE TABLE invocation_details%[1]s (task_id TEXT PRIMARY KEY, args_preview TEXT, kwargs_preview TEXT, traceback_snippet TEXT)`, s), ";") {
					if err := c.exec(text); err != nil {
						return err
					}
				}
			}
			n := rows / days
			for i := range n {
				at := start + float64(day)*86400 + 86400*float64(i)/float64(n)
				var b [16]byte
				for k := range b {
					b[k] = byte(r.Uint32())
				}
				id := task.UnpackID(b[:])
				if i%97 == 0 {
					ids = append(ids, id)
				}
				state, exception, end := "SUCCESS", driver.Value(nil), driver.Value(at)
				switch p := r.IntN(100); {
				case p == 0:
					state, exception, end = "RETRY", "ConnectionError", nil
				case p < 6:
					state, exception = "FAILURE", "ValueError"
				}
				name := fmt.Sprintf("shop.tasks.task_%d", min(r.IntN(120), r.IntN(120)))
				if err := c.exec("INSERT INTO invocations"+s+" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", id, name, state, at-2, at-1, end, 1000.0, "celery@worker-"+fmt.Sprint(r.IntN(50)), "default", exception); err != nil {
					return err
				}
				if err := c.exec("INSERT INTO invocation_details"+s+" VALUES (?, ?, ?, NULL)", id, "(1, 'user@example.com')", "{'amount': 12}"); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		err = c.close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return ids
}

// BenchmarkLegacy has the questions that a big file must answer at once. First
// is what a freshly opened file takes.
func BenchmarkLegacy(b *testing.B) {
	for _, daily := range []bool{false, true} {
		path := filepath.Join(b.TempDir(), "big.db")
		ids := bigLegacy(b, path, benchRows(), daily)
		name := map[bool]string{false: "one", true: "daily"}[daily]
		ctx := context.Background()
		page := func(b *testing.B, l *Legacy, f *task.Filter) {
			n := 0
			err := l.Select(ctx, Select{Filter: f, Limit: 50}, func(*task.Invocation) (bool, error) { n++; return true, nil })
			if err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
		b.Run(name+"/open", func(b *testing.B) {
			for b.Loop() {
				l, err := OpenLegacy(path)
				if err == nil {
					err = l.Close()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
		filters := map[string]*task.Filter{"newest": {}, "task": {TaskNames: []string{"shop.tasks.task_7"}}, "failure": {States: []task.State{task.StateFailure}},
			"retry": {States: []task.State{task.StateRetry}}, "prefix": {TaskNames: []string{"shop.tasks.task_11*"}}, "worker": {Workers: []string{"celery@worker-3"}}}
		for _, q := range []string{"newest", "task", "failure", "retry", "prefix", "worker"} {
			b.Run(name+"/first-"+q, func(b *testing.B) {
				for b.Loop() {
					l, err := OpenLegacy(path)
					if err != nil {
						b.Fatal(err)
					}
					page(b, l, filters[q])
					if err := l.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		l := openLegacy(b, path)
		for _, q := range []string{"newest", "task", "failure", "retry", "prefix", "worker"} {
			b.Run(name+"/"+q, func(b *testing.B) {
				for b.Loop() {
					page(b, l, filters[q])
				}
			})
		}
		i := 0
		b.Run(name+"/id", func(b *testing.B) {
			for b.Loop() {
				i++
				if found, err := l.Lookup(ctx, ids[i%len(ids):i%len(ids)+1]); err != nil || len(found) != 1 {
					b.Fatal(len(found), err)
				}
			}
		})
		b.Run(name+"/walk", func(b *testing.B) {
			n := 0
			for b.Loop() {
				if err := l.Select(ctx, Select{}, func(*task.Invocation) (bool, error) { n++; return true, nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
