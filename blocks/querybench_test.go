package blocks

import (
	"context"
	"math/rand/v2"
	"testing"

	"daybook/tsdb/task"
)

// benchLibrary is seven sealed days of benchRows()/10 rows each, with some of
// their ids.
func benchLibrary(b *testing.B, o PoolOptions) (*Catalog, []string) {
	sh := newShelf(b)
	var days []DayFiles
	var ids []string
	for i := range 7 {
		day := testDay + task.Day(i)
		g := newLoad(uint64(i), day, benchRows()/9)
		rows := make([]task.Invocation, benchRows()/10)
		for j := range rows {
			rows[j] = *g.next()
			if j%97 == 0 {
				ids = append(ids, rows[j].TaskID)
			}
		}
		days = append(days, DayFiles{Day: day, Sealed: sh.sealedBulk(day, rows)})
	}
	return sh.catalog(o, days...), ids
}

// BenchmarkLookup finds one id over seven sealed days.
func BenchmarkLookup(b *testing.B) {
	c, ids := benchLibrary(b, PoolOptions{})
	run := func(b *testing.B, id func() string) {
		v := c.View()
		defer v.Release()
		for b.Loop() {
			if _, err := v.Lookup(context.Background(), []string{id()}); err != nil {
				b.Fatal(err)
			}
		}
	}
	some := func() string { return ids[rand.IntN(len(ids))] }
	g := newLoad(99, testDay, 10)
	b.Run("hit", func(b *testing.B) { run(b, some) })
	b.Run("miss", func(b *testing.B) { run(b, g.uuid) })
	for _, d := range c.View().Days() {
		d.Sealed.DropFilter()
	}
	b.Run("hit, filters on disk", func(b *testing.B) { run(b, some) })
	b.Run("miss, filters on disk", func(b *testing.B) { run(b, g.uuid) })
}

// BenchmarkSelect lists pages over seven sealed days.
func BenchmarkSelect(b *testing.B) {
	for _, o := range []struct {
		name string
		PoolOptions
	}{{"10", PoolOptions{}}, {"one connection of 2", PoolOptions{Conns: 1, Limit: 2}}} {
		c, _ := benchLibrary(b, o.PoolOptions)
		some := c.View().Days()[3].Day
		for _, q := range []struct {
			name string
			Select
		}{
			{"newest 50", Select{Limit: 50}},
			{"newest 50 of a task", Select{Limit: 50, Details: true, Filter: &task.Filter{TaskNames: []string{"shop.module_5.tasks.task_5"}}}},
			{"newest 50 of a rare task", Select{Limit: 50, Details: true, Filter: &task.Filter{TaskNames: []string{"shop.module_9.tasks.task_119"}}}},
			{"newest 50 failures of a task", Select{Limit: 50, Details: true, Filter: &task.Filter{States: []task.State{task.StateFailure}, TaskNames: []string{"shop.module_5.tasks.task_5"}}}},
			{"no such name", Select{Limit: 50, Filter: &task.Filter{TaskNames: []string{"nobody"}}}},
			{"1000 of a day", Select{Limit: 1000, After: &task.Key{At: some.End()}}},
			{"a worker's 50 in a day", Select{Limit: 50, Filter: &task.Filter{Workers: []string{"celery@shop-worker-7"}, To: some.End(), From: some.Start()}}},
			{"all", Select{}},
			{"all with details", Select{Details: true}},
		} {
			b.Run(o.name+"/"+q.name, func(b *testing.B) {
				v := c.View()
				defer v.Release()
				rows := 0
				for b.Loop() {
					if err := v.Select(context.Background(), q.Select, func(*task.Invocation) (bool, error) { rows++; return true, nil }); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
			})
		}
	}
}

// BenchmarkAttach is what a file costs that is not attached yet: ATTACH, the
// first use of its statements, DETACH of another.
func BenchmarkAttach(b *testing.B) {
	c, _ := benchLibrary(b, PoolOptions{Conns: 1, Limit: 2})
	days := c.View().Days()
	for i := 0; b.Loop(); i++ {
		s, err := c.pool.acquire(context.Background(), days[i%len(days)].attachments()...)
		if err != nil {
			b.Fatal(err)
		}
		c.pool.release(s, nil)
	}
}
