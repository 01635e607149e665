package blocks

import (
	"context"
	"database/sql/driver"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchRows is the size of the day that benchmarks write into.
func benchRows() int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROWS")); err == nil {
		return n
	}
	return 1_000_000
}

// BenchmarkApply cuts 10 000 rows at a time into a day that holds a million.
func BenchmarkApply(b *testing.B) {
	l, err := CreateLive(b.TempDir(), testDay, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer closeAll(b, l)
	held, cut, written := benchRows(), uint64(0), writtenBytes()
	g := newLoad(1, testDay, max(held*2, 4_000_000)) // so dense is a day of 4 million
	start := time.Now()
	var took time.Duration
	for range held / 10_000 {
		cut++
		batch := g.batch(cut, 10_000)
		from := cpuTime()
		if err := l.Apply(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		took += cpuTime() - from
	}
	b.Logf("filled %d rows at %.0f/cpu-s (%.0f/s with the generator), %.1f bytes a row, %.0f written", l.Rows(), float64(held)/took.Seconds(), float64(held)/time.Since(start).Seconds(), float64(l.Bytes())/float64(l.Rows()), float64(writtenBytes()-written)/float64(l.Rows()))
	if held == 0 {
		b.Skip("without rows")
	}
	b.ResetTimer()
	took = 0
	for b.Loop() {
		b.StopTimer()
		cut++
		batch := g.batch(cut, 10_000)
		b.StartTimer()
		from := cpuTime()
		if err := l.Apply(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		took += cpuTime() - from
	}
	b.ReportMetric(float64(b.N)*10_000/took.Seconds(), "rows/cpu-s")
}

// cpuTime is what the process has used: on a busy machine it tells more than
// the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// writtenBytes is what the process has sent to the disk, where that is known.
func writtenBytes() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			written, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return written
		}
	}
	return 0
}

// BenchmarkPlainAppend is the yardstick: the same rows with their details as
// columns into one table without any index, ids or dictionaries, in
// transactions of 10 000.
func BenchmarkPlainAppend(b *testing.B) {
	c, err := openFile(b.TempDir()+"/plain.db", modeCreate)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			b.Error(err)
		}
	}()
	if err := c.script("PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=4096; PRAGMA cache_size=-16000;" +
		"CREATE TABLE plain (" + strings.ReplaceAll(columns, "key", "key INTEGER PRIMARY KEY") + ", args, kwargs, result, message, traceback)"); err != nil {
		b.Fatal(err)
	}
	g := newLoad(1, testDay, 4_000_000)
	key := int64(0)
	const plainColumns = columnCount + chunkFields
	one := "(?" + strings.Repeat(",?", plainColumns-1) + ")"
	insert := "INSERT INTO plain VALUES " + one + strings.Repeat(","+one, insertRows-1)
	args := make([]driver.NamedValue, insertRows*plainColumns)
	for i := range args {
		args[i].Ordinal = i + 1
	}
	const rows = 10_000 / insertRows * insertRows
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		batch := g.batch(1, rows)
		b.StartTimer()
		from := cpuTime()
		err := c.transaction(func() error {
			for i, p := range batch.Put {
				key++
				row := args[i%insertRows*plainColumns:][:plainColumns]
				encodeRow(row, p.Inv, key, dictIDs{name: 3, worker: 5, queue: 2}, -1, true)
				for j, text := range textsOf(p.Inv) {
					row[columnCount+j].Value = text
				}
				if i%insertRows == insertRows-1 {
					if err := c.execNamed(insert, args); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		took += cpuTime() - from
	}
	b.ReportMetric(float64(b.N)*rows/took.Seconds(), "rows/cpu-s")
}

// BenchmarkFind looks ids up in a live day of a million rows.
func BenchmarkFind(b *testing.B) {
	l, err := CreateLive(b.TempDir(), testDay, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer closeAll(b, l)
	rows := benchRows()
	g := newLoad(1, testDay, rows+rows/20)
	var ids []string
	for cut := range rows / 10_000 {
		batch := g.batch(uint64(cut)+1, 10_000)
		if err := l.Apply(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		for i := 0; i < len(batch.Put); i += 97 {
			ids = append(ids, batch.Put[i].Inv.TaskID)
		}
	}
	i := 0
	for b.Loop() {
		i += 7919
		if _, ok, err := l.Find(context.Background(), ids[i%len(ids)]); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkSeal seals a live day.
func BenchmarkSeal(b *testing.B) {
	dir := b.TempDir()
	l, err := CreateLive(dir, testDay, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer closeAll(b, l)
	rows := benchRows()
	g := newLoad(1, testDay, rows+rows/20)
	for cut := range rows / 10_000 {
		if err := l.Apply(context.Background(), g.batch(uint64(cut)+1, 10_000)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		from := time.Now()
		tmp, info, err := BuildSealed(context.Background(), dir, SealInput{Day: testDay, Generation: 1, Live: l, At: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Rows)/time.Since(from).Seconds(), "rows/s")
		s, err := openSealed(tmp)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Bytes())/float64(info.Rows), "B/row")
		if keep := os.Getenv("BENCH_KEEP"); keep != "" {
			if err := os.Rename(tmp, keep); err != nil {
				b.Fatal(err)
			}
			continue
		}
		if err := os.Remove(tmp); err != nil {
			b.Fatal(err)
		}
	}
}
