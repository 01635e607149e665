package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

const (
	rareWord = "ORD-77123456" // in one row of every third day
	rareRoot = "00000000-0000-4000-8000-0000000000aa"
)

// searchDays are ten sealed days of benchRows()/10 rows. BENCH_DAYS names a
// directory where they are kept: making ten million rows takes a while.
func searchDays(b *testing.B) []DayFiles {
	sh := newShelf(b)
	keep := os.Getenv("BENCH_DAYS")
	var days []DayFiles
	for i := range task.Day(10) {
		day := testDay + i
		name := filepath.Join(keep, fmt.Sprintf("%s.db", day))
		if keep != "" {
			if f, err := OpenSealed(name); err == nil {
				if err := f.LoadFilter(); err != nil {
					b.Fatal(err)
				}
				days = append(days, DayFiles{Day: day, Sealed: f})
				continue
			}
		}
		f := searchDay(b, sh, day, benchRows()/10)
		if keep != "" {
			if err := os.Rename(f.Path(), name); err != nil {
				b.Fatal(err)
			}
			f.path = name
		}
		b.Logf("%s: %d rows, %.1f B/row", day, f.Rows(), float64(f.Bytes())/float64(f.Rows()))
		days = append(days, DayFiles{Day: day, Sealed: f})
	}
	return days
}

// searchDay cuts and seals a day.
func searchDay(b *testing.B, sh *shelf, day task.Day, rows int) *Sealed {
	sh.seq++
	l, err := CreateLive(filepath.Join(sh.dir, "live"), day, sh.seq)
	if err != nil {
		b.Fatal(err)
	}
	g := newLoad(uint64(day), day, rows*10/9)
	for cut := uint64(1); rows > 0; cut++ {
		batch := g.batch(cut, min(rows, 50_000))
		if cut == 1 {
			if day%3 == 0 {
				batch.Put[500].Inv.Kwargs += " " + rareWord
			}
			for i := range 5 {
				batch.Put[700+17*i].Inv.RootID = rareRoot
			}
		}
		if err := l.Apply(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		rows -= len(batch.Put)
	}
	f := sh.seal(l, 1)
	closeAll(b, l)
	if err := l.Remove(); err != nil {
		b.Fatal(err)
	}
	return f
}

// BenchmarkWords searches ten sealed days. The yardstick is SQLite counting the
// rows of one of them.
func BenchmarkWords(b *testing.B) {
	days := searchDays(b)
	c := (&shelf{t: b}).catalog(PoolOptions{}, days...)
	v := c.View()
	defer v.Release()
	rows, _ := v.Rows()
	words := int64(0)
	for _, d := range days {
		words += wordBytes(b, d.Sealed.Path())
	}
	b.Logf("%d rows, %.2f bytes of word filters a row", rows, float64(words)/float64(rows))

	b.Run("yardstick: count the rows of a day", func(b *testing.B) {
		f, err := openFile(days[0].Sealed.Path(), modeImmutable)
		if err != nil {
			b.Fatal(err)
		}
		defer closeAll(b, closer(f.close))
		var vals [1]driver.Value
		measured(b, 0, func() {
			if _, err := f.queryRow(context.Background(), vals[:], "SELECT count(*) FROM invocation NOT INDEXED"); err != nil {
				b.Fatal(err)
			}
		})
	})
	var some task.Invocation
	day := days[4].Day
	if err := v.Select(context.Background(), Select{Limit: 1, Filter: &task.Filter{From: day.Start() + 3_600_000_000, To: day.End()}, Oldest: true}, func(inv *task.Invocation) (bool, error) { some = *inv; return false, nil }); err != nil {
		b.Fatal(err)
	}
	name, failed := []string{"shop.module_5.tasks.task_5"}, []task.State{task.StateFailure}
	for _, q := range []struct {
		name, q string
		scanned int64 // rows; to be told by the second
		Select
	}{
		{name: "rare word", q: rareWord},
		{name: "absent word", q: "nowherefound"},
		{name: "absent phrase", q: `"ORD-99999999 of nobody"`},
		{name: "word of a tenth of a percent of the rows, newest 50", q: "module_17 line 290", Select: Select{Limit: 50}},
		{name: "frequent word, newest 50", q: "traceback", Select: Select{Limit: 50}},
		{name: "id", q: some.TaskID, Select: Select{Details: true}},
		{name: "absent id", q: "00000000-1111-4222-8333-444444444444"},
		{name: "id as a filter", Select: Select{Details: true, Filter: &task.Filter{TaskID: some.TaskID}}},
		{name: "absent id as a filter", Select: Select{Filter: &task.Filter{TaskID: "00000000-1111-4222-8333-444444444444"}}},
		{name: "newest 50 of a task", Select: Select{Limit: 50, Details: true, Filter: &task.Filter{TaskNames: name}}},
		{name: "newest 50 of a state", Select: Select{Limit: 50, Details: true, Filter: &task.Filter{States: failed}}},
		{name: "newest 50 of a task and a state", Select: Select{Limit: 50, Details: true, Filter: &task.Filter{TaskNames: name, States: failed}}},
		{name: "newest 50 failures of a task with a frequent word", q: "timeouterror", Select: Select{Limit: 50, Details: true, Filter: &task.Filter{TaskNames: name, States: failed}}},
		{name: "rare word of a task", q: rareWord, Select: Select{Filter: &task.Filter{TaskNames: name}}},
		{name: "root", Select: Select{Filter: &task.Filter{RootID: rareRoot}}},
		{name: "absent root", Select: Select{Filter: &task.Filter{RootID: "11111111-1111-4222-8333-444444444444"}}},
		{name: "substring that is absent", q: "/no such thing/", scanned: rows},
		{name: "substring in a tenth of the rows, all", q: "/'amount': 77/", scanned: rows},
		{name: "prefix that is absent", q: "nowherefou*", scanned: rows},
	} {
		b.Run(q.name, func(b *testing.B) {
			s, found := q.Select, 0
			if q.q != "" {
				var err error
				if s.Text, err = text.Parse(q.q); err != nil {
					b.Fatal(err)
				}
			}
			measured(b, q.scanned, func() {
				found = 0
				if err := v.Select(context.Background(), s, func(*task.Invocation) (bool, error) { found++; return true, nil }); err != nil {
					b.Fatal(err)
				}
			})
			b.ReportMetric(float64(found), "found")
		})
	}
}

// measured reports the processor's time beside the clock's.
func measured(b *testing.B, rows int64, fn func()) {
	fn() // warm
	from := cpuTime()
	n := 0
	for b.Loop() {
		fn()
		n++
	}
	took := (cpuTime() - from).Seconds() / float64(n)
	b.ReportMetric(1000*took, "cpu-ms/op")
	if rows > 0 {
		b.ReportMetric(float64(rows)/took, "rows/cpu-s")
	}
}

// wordBytes is what the tables of words take in a file.
func wordBytes(b *testing.B, path string) int64 {
	c, err := openFile(path, modeImmutable)
	if err != nil {
		b.Fatal(err)
	}
	defer closeAll(b, closer(c.close))
	var vals [1]driver.Value
	// A page of words has a page of the database for itself.
	if _, err := c.queryRow(context.Background(), vals[:], fmt.Sprintf("SELECT (SELECT count(*) FROM word_page) * %d + (SELECT sum(length(spans) + 40) FROM word_group)", sealedPageBytes)); err != nil {
		b.Fatal(err)
	}
	n, _ := vals[0].(int64)
	return n
}

// BenchmarkApplyWords is what the words cost a cut of 10 000 rows, and a file: the
// yardstick is the same cut without them. Both are cut in turn.
func BenchmarkApplyWords(b *testing.B) {
	var files [2]*Live
	var err error
	for i := range files {
		var l *Live
		l, err = CreateLive(b.TempDir(), testDay, 1)
		if err != nil {
			b.Fatal(err)
		}
		defer closeAll(b, l)
		files[i] = l
	}
	w := <-files[1].writer
	w.words = nil
	files[1].writer <- w
	g, cut := newLoad(1, testDay, 4_000_000), uint64(0)
	var took [2]float64
	for b.Loop() {
		cut++
		batch := g.batch(cut, 10_000)
		for i := range files {
			i ^= int(cut & 1)
			from := cpuTime()
			if err := files[i].Apply(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
			took[i] += (cpuTime() - from).Seconds()
		}
	}
	rows := float64(files[0].Rows())
	b.ReportMetric(took[0]*1e6/rows, "cpu-us/row")
	b.ReportMetric(took[1]*1e6/rows, "cpu-us/row-without")
	b.ReportMetric(100*(took[0]/took[1]-1), "%more")
	var pages [2]int64
	for i, l := range files {
		r := <-l.reader
		if pages[i], err = pragmaInt(r.c, "page_count"); err != nil {
			b.Fatal(err)
		}
		l.reader <- r
	}
	b.ReportMetric(float64(pages[0]-pages[1])*livePageBytes/rows, "B/row")
}
