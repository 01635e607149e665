package tsdb

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// manyDays has a few rows on each of the last n days, sealed.
func manyDays(t *testing.T, o Options, n, rows int) {
	t.Helper()
	db := start(t, o)
	for d := range n {
		for i := range rows {
			e := task.Event{TaskID: fmt.Sprintf("d%d-%d", d, i), State: oneOf(rand.New(rand.NewPCG(uint64(d), uint64(i))), task.StateSuccess, task.StateFailure),
				At: noon.Add(-time.Duration(d+1)*24*time.Hour + time.Duration(i)*time.Second).UnixMicro(), TaskName: "t", Args: "ORD-1", Retries: 0}
			mustAppend(t, db, Record{Invocation: e.Invocation()})
		}
	}
	if _, err := db.Cut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

var windowDays = flag.Int("window.days", 120, "how many days TestWindows stores; 25 with -short. A year takes ten seconds more")

// Ranges of many more days than can be attached at once are walked whole, and a
// page that the newest day fills touches no other: the older files are not
// even there.
func TestWindows(t *testing.T) {
	t.Parallel()
	days := *windowDays
	if testing.Short() {
		days = 25
	}
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime, o.MaxPast, o.WALSync = 0, 500*24*time.Hour, "never"
	const rows = 5
	manyDays(t, o, days, rows)
	ro, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	ctx := context.Background()
	for _, n := range []int{7, 30, 365} {
		for _, oldest := range []bool{false, true} {
			q := Query{Filter: task.Filter{From: noon.Add(-time.Duration(n) * 24 * time.Hour).UnixMicro()}, Oldest: oldest, Limit: 7}
			got := 0
			for {
				page, err := ro.Select(ctx, q)
				if err != nil || !page.Complete || len(page.Coverage.Unreadable) > 0 {
					t.Fatal(err, page.Coverage)
				}
				got += len(page.Invocations)
				if page.Next == nil {
					break
				}
				q.After = page.Next
			}
			if want := min(n, days) * rows; got != want {
				t.Errorf("%d days, oldest %v: %d rows, want %d", n, oldest, got, want)
			}
		}
		count, err := ro.Count(ctx, CountQuery{Filter: task.Filter{From: noon.Add(-time.Duration(n) * 24 * time.Hour).UnixMicro(), MinRetries: 0, Workers: nil, TaskNames: []string{"t*"}}, By: "state"})
		if err != nil || count.Total != int64(min(n, days)*rows) {
			t.Errorf("%d days: counted %d, %v", n, count.Total, err)
		}
	}

	for _, oldest := range []bool{false, true} {
		dir := t.TempDir()
		files, err := filepath.Glob(filepath.Join(o.Dir, "days", "*.db"))
		if err != nil || len(files) != days {
			t.Fatal(len(files), err)
		}
		slices.Sort(files)
		keep := files[days-1]
		if oldest {
			keep = files[0]
		}
		for _, f := range files[:days] {
			if err := os.Link(f, filepath.Join(dir, filepath.Base(f))); err != nil {
				t.Fatal(err)
			}
		}
		po := o
		po.Dir = dir
		db, err := OpenReadOnly(po)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f != keep {
				if err := os.Remove(filepath.Join(dir, filepath.Base(f))); err != nil {
					t.Fatal(err)
				}
			}
		}
		q := Query{Oldest: oldest, Limit: rows - 1, Details: true}
		page, err := db.Select(ctx, q)
		if err != nil || len(page.Invocations) != rows-1 || len(page.Coverage.Unreadable) > 0 || page.Next == nil {
			t.Errorf("oldest %v: %d rows, %v, %v", oldest, len(page.Invocations), err, page.Coverage.Unreadable)
		}
		q.After = page.Next // the day's last row, and then there is nothing
		if page, err = db.Select(ctx, q); err != nil || len(page.Invocations) != 1 || len(page.Coverage.Unreadable) != days-1 {
			t.Errorf("oldest %v: %d rows, %v, %d unreadable", oldest, len(page.Invocations), err, len(page.Coverage.Unreadable))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A page that is full before the rows of a legacy file does not look for any.
func TestLegacyIsReachedLate(t *testing.T) {
	t.Parallel()
	for _, oldest := range []bool{false, true} {
		looked := 0
		s := &legacySource{edge: 1000, stop: func() {}, next: func() (*task.Invocation, bool) { looked++; return nil, false }}
		var got []string
		m := merger{q: &Query{Oldest: oldest}, seen: map[string]bool{}, legacy: []*legacySource{s}, fn: func(v *task.Invocation) (bool, error) {
			got = append(got, v.TaskID)
			return true, nil
		}}
		at := []int64{5000, 4000, 3000, 900}
		if oldest {
			at = []int64{10, 20, 30, 2000}
		}
		inMemory := finished("memory", time.UnixMicro(at[1])).Invocation
		m.memory = []*task.Invocation{&inMemory}
		for i, us := range []int64{at[0], at[2], at[3]} {
			v := finished(fmt.Sprint("row", i), time.UnixMicro(us)).Invocation
			if more, err := m.block(&v); !more || err != nil {
				t.Fatal(err)
			}
			if want := i / 2; looked != want {
				t.Fatalf("oldest %v: looked %d times before row %d", oldest, looked, i)
			}
		}
		if err := m.rest(); err != nil || looked != 1 || strings.Join(got, " ") != "row0 memory row1 row2" {
			t.Fatal(err, looked, got)
		}
	}
}

// A page of large tracebacks is cut short, wherever they are, and what a query
// holds stays far below what its rows would take.
func TestPagesOfTracebacks(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.WALSync, o.OpenTimeout = "never", 100*time.Hour
	db := start(t, o)
	defer db.Close()
	const each = 64 << 10
	trace := strings.Repeat("  File \"/srv/app/tasks.py\", line 10, in run\n", each/44)
	rows := 1000
	if testing.Short() {
		rows = 600
	}
	want := map[string]bool{}
	for n := 0; n < rows; {
		var recs []Record
		for range 100 {
			state := task.StateFailure
			if n%3 != 0 {
				state = task.StateRetry // open: these get parked
			}
			e := task.Event{TaskID: fmt.Sprint("t", n), State: state, At: noon.Add(-time.Duration(n%40) * time.Hour).UnixMicro(), TaskName: "t",
				ExceptionType: "E", ExceptionMessage: "m", Traceback: trace + fmt.Sprint(n), Retries: 0}
			recs = append(recs, Record{Invocation: e.Invocation()})
			want[e.TaskID] = true
			n++
		}
		mustAppend(t, db, recs...)
		if n >= rows { // the last ones stay in the head
			break
		}
		if _, err := db.Cut(context.Background(), n >= rows/2); err != nil {
			t.Fatal(err)
		}
		if _, err := db.compact.Park(context.Background(), db.cuttable(), 100, true); err != nil {
			t.Fatal(err)
		}
	}
	snap := db.head.Snapshot()
	parked, err := db.memoryRows(context.Background(), &Query{Filter: task.Filter{Open: true}, Details: true}, &snap, 1001)
	var bytes int64
	for _, v := range parked {
		if !snap.Holds(v.TaskID) {
			bytes += v.Size()
		}
	}
	if err != nil || bytes < maxPageBytes || bytes > maxPageBytes+2*each {
		t.Errorf("%d bytes of parked rows are held: %v", bytes, err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(5)) // the heap is what is held
	for _, q := range []Query{{}, {Oldest: true}, {Filter: task.Filter{Open: true}}} {
		q.Details, q.Limit = true, 1000
		got := map[string]bool{}
		for {
			var page Page
			held := heldBy(func() {
				var err error
				if page, err = db.Select(context.Background(), q); err != nil {
					t.Fatal(err)
				}
			})
			if held > 64<<20 {
				t.Errorf("a page of %d rows held %d MiB", len(page.Invocations), held>>20)
			}
			for _, v := range page.Invocations {
				if got[v.TaskID] || len(v.Outcome.Traceback) < each-44 {
					t.Fatalf("%s: twice, or cut: %d", v.TaskID, len(v.Outcome.Traceback))
				}
				got[v.TaskID] = true
			}
			if page.Next == nil {
				break
			}
			q.After = page.Next
		}
		n := len(want)
		if q.Open {
			n = n - (n+2)/3
		}
		if len(got) != n {
			t.Errorf("open %v, oldest %v: %d rows, want %d", q.Open, q.Oldest, len(got), n)
		}
	}
}

// heldBy is how much the heap grows at most while fn runs, about.
func heldBy(fn func()) int64 {
	var m runtime.MemStats
	heap := func() int64 { runtime.ReadMemStats(&m); return int64(m.HeapAlloc) }
	runtime.GC()
	before := heap()
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, heap())
			case <-stop:
				most <- peak
				return
			}
		}
	}()
	fn()
	close(stop)
	return max(<-most, heap()) - before
}

// What is stuck is found by its last event, oldest first, in the head and in
// the parked file alike.
func TestStuck(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.OpenTimeout, o.WALSync = 100*time.Hour, "never"
	db := start(t, o)
	defer db.Close()
	r := rand.New(rand.NewPCG(9, 9))
	var want []string
	order := r.Perm(60)
	for _, n := range order {
		at := noon.Add(-time.Duration(n) * time.Minute)
		mustAppend(t, db, started(fmt.Sprint("s", n), at), finished(fmt.Sprint("f", n), at))
		if n%20 == 7 {
			if _, err := db.compact.Park(context.Background(), db.cuttable(), 15, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := 59; n >= 10; n-- {
		want = append(want, fmt.Sprint("s", n))
	}
	if parked := db.compact.Parked().Rows(); parked < 10 || parked > 50 {
		t.Fatalf("%d are parked", parked)
	}
	for _, oldest := range []bool{true, false} {
		var got []string
		q := Query{Filter: task.Filter{Open: true, OpenBefore: noon.Add(-10 * time.Minute).UnixMicro()}, Oldest: oldest, Limit: 7}
		for {
			page, err := db.Select(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range page.Invocations {
				got = append(got, v.TaskID)
			}
			if page.Next == nil {
				break
			}
			q.After = page.Next
		}
		if !oldest {
			slices.Reverse(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("oldest %v: %v", oldest, got)
		}
	}
	n, err := db.Count(context.Background(), CountQuery{Filter: task.Filter{Open: true, OpenBefore: noon.Add(-10 * time.Minute).UnixMicro()}})
	if err != nil || n.Total != 50 {
		t.Errorf("%d are counted: %v", n.Total, err)
	}
}

// checkCount compares a count with every filter and by with the rows.
func (m *model) checkCount(all []task.Invocation) {
	q := CountQuery{By: oneOf(m.r, "", "task_name", "state", "worker", "worker_group", "queue", "exception_type"), Step: rollup.Forever}
	some := func() bool { return m.r.IntN(4) == 0 }
	f := &q.Filter
	if some() {
		f.TaskNames = []string{oneOf(m.r, "name0", "name*", "name1", "none"), "name2"}
	}
	if some() {
		f.States = []task.State{task.States[m.r.IntN(len(task.States))], task.StateSuccess}
	}
	if some() {
		f.Workers = []string{"celery@host-1"}
	}
	if some() {
		f.WorkerGroup = oneOf(m.r, "host", "host-0", "none")
	}
	if some() {
		f.Queues = []string{"q"}
	}
	if some() {
		f.ExceptionType = oneOf(m.r, "E", "none")
	}
	if some() {
		f.TaskID = fmt.Sprint("task-", m.r.IntN(40))
	}
	if some() {
		f.RootID = "r"
	}
	if some() {
		f.MinRetries = 1
	}
	if some() {
		f.MinRuntime, f.HasMinRuntime = m.r.Int64N(1<<20), true
	}
	if some() {
		f.MaxRuntime, f.HasMaxRuntime = m.r.Int64N(1<<25), true
	}
	if some() {
		f.Open = true
	}
	if some() {
		f.OpenBefore = m.c.now().Add(-time.Duration(m.r.IntN(40)) * time.Hour).UnixMicro()
	}
	if some() {
		f.From = m.c.now().Add(-time.Duration(m.r.IntN(60)) * time.Hour).UnixMicro()
		f.To = f.From + int64(m.r.IntN(40))*3600*1_000_000
		if f.To > f.From {
			q.Step = oneOf(m.r, rollup.Forever, rollup.Hour, rollup.Day)
		}
	}
	type cell struct {
		at  int64
		key string
	}
	want, points := map[string]int64{}, map[cell]int64{}
	total := int64(0)
	for _, v := range all {
		if f.Match(&v) {
			total++
			key := ""
			if q.By != "" {
				key = CountBy[q.By](&v)
				want[key]++
			}
			if q.Step != rollup.Forever {
				points[cell{q.Step.Start(v.RowTime()), key}]++
			}
		}
	}
	got, err := m.db.Count(context.Background(), q)
	if err != nil || !got.Complete || got.Total != total || len(got.Groups) != len(want) {
		m.failf("count %+v: %v\n got %d %+v\nwant %d %v", q, err, got.Total, got.Groups, total, want)
	}
	for _, g := range got.Groups {
		if want[g.Key] != g.Count {
			m.failf("count %+v:\n got %+v\nwant %v", q, got.Groups, want)
		}
	}
	for i, p := range got.Points {
		if i > 0 && p.At != got.Points[i-1].At+q.Step.Micros() {
			m.failf("count %+v: a point at %s", q, stamp(p.At))
		}
		groups, sum := p.Groups, int64(0)
		if q.By == "" && p.Total > 0 {
			groups = []GroupCount{{"", p.Total}}
		}
		for _, g := range groups {
			if sum += g.Count; points[cell{p.At, g.Key}] != g.Count {
				m.failf("count %+v: %d of %q at %s, want %d", q, g.Count, g.Key, stamp(p.At), points[cell{p.At, g.Key}])
			}
			delete(points, cell{p.At, g.Key})
		}
		if sum != p.Total {
			m.failf("count %+v: the groups at %s add up to %d, the point has %d", q, stamp(p.At), sum, p.Total)
		}
	}
	if len(points) > 0 {
		m.failf("count %+v: the points miss %v", q, points)
	}
}
