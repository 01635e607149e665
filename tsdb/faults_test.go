//go:build faults

package tsdb

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

var (
	faultsAll  = flag.Bool("faults.all", false, "fail every single operation, not a random sample")
	faultsOnly = flag.String("faults.only", "", "the one case to run: first operation, how many, errno")
	faultsSeed = flag.Uint64("faults.seed", 0, "seed of the sample; 0 is a new one")
)

// disk is a hook that counts operations, and fails some of them.
type disk struct {
	mu     sync.Mutex
	n      int
	from   int // the first to fail
	to     int // the first not to fail again
	err    syscall.Errno
	failed map[string]bool
	first  string // the operation that failed first

	ops, quiet map[string]int // how many cases failed an operation, and of how many nobody was told
}

func (d *disk) hook(op, path string) error {
	if op == "point" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	if d.n < d.from || d.n >= d.to || d.err == syscall.EMFILE && !strings.Contains(op, "open") && !strings.Contains(op, "create") {
		return nil
	}
	if d.failed == nil {
		d.failed = map[string]bool{}
		d.first = fmt.Sprintf("%s %s (%d)", op, filepath.Base(path), d.n)
	}
	d.failed[op] = true
	return &fs.PathError{Op: op, Path: path, Err: d.err}
}

// mends lets everything work again, and reports whether anything failed.
func (d *disk) mends() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.from, d.to = 0, 0
	return d.first != ""
}

// life is what happens to a data directory, step by step; a step that fails is noted, and
// the next one is taken.
type life struct {
	t    *testing.T
	dir  string
	dest string
	c    *testClock
	db   *DB
	logs bytes.Buffer
	mu   sync.Mutex // guards logs
	errs []error
	regs []*prometheus.Registry // one a start

	acked, sent map[string]task.Invocation
}

func newLife(t *testing.T, base string) *life {
	return &life{t: t, dir: filepath.Join(base, "data"), dest: filepath.Join(base, "backup"), c: &testClock{at: noon.Add(10 * time.Hour)},
		acked: map[string]task.Invocation{}, sent: map[string]task.Invocation{}}
}

// Write makes a life the writer of its logger.
func (l *life) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logs.Write(b)
}

func (l *life) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logs.String()
}

func (l *life) options() Options {
	o := testOptions(l.dir, l.c)
	o.RetentionTime = 3 * 24 * time.Hour
	o.OpenTimeout = 100 * 24 * time.Hour
	l.regs = append(l.regs, prometheus.NewRegistry())
	o.Metrics = l.regs[len(l.regs)-1]
	o.Logger = level.NewFilter(log.NewLogfmtLogger(log.NewSyncWriter(l)), level.AllowWarn())
	return o
}

func (l *life) note(what string, err error) {
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %w", what, err))
	}
}

func (l *life) open() bool {
	db, err := Open(l.options())
	if err != nil {
		l.note("open", err)
		return false
	}
	if err := db.replay(context.Background()); err != nil {
		l.note("replay", err)
		l.note("release", db.release())
		return false
	}
	db.ready.Store(true)
	l.db = db
	return true
}

func (l *life) append(recs ...Record) {
	for _, r := range recs {
		l.sent[r.TaskID] = task.Merge(l.sent[r.TaskID], r.Invocation)
	}
	out, err := l.db.Append(context.Background(), append([]Record(nil), recs...))
	l.note("append", err)
	if err != nil {
		return
	}
	if len(out.Refused) > 0 || out.Dropped > 0 {
		l.t.Fatalf("%+v", out)
	}
	for _, r := range recs {
		l.acked[r.TaskID] = task.Merge(l.acked[r.TaskID], r.Invocation)
	}
}

// run is everything that writes.
func (l *life) run() {
	if !l.open() && !l.open() { // a supervisor starts it again
		return
	}
	ctx := context.Background()
	now := l.c.now()
	day := 24 * time.Hour
	cut := func(seal bool) {
		_, err := l.db.Cut(ctx, seal)
		l.note("cut", err)
	}
	for i := range 3 {
		l.append(finished(fmt.Sprint("a", i), now.Add(-time.Duration(i+1)*day)), started(fmt.Sprint("o", i), now))
	}
	cut(true)
	l.append(finished("late", now.Add(-day)), finished("a1", now.Add(-day)), finished("o0", now)) // a1 moves
	cut(false)
	_, err := l.db.compact.Park(ctx, l.db.cuttable(), 2, true)
	l.note("park", err)
	l.append(finished("o1", now))
	cut(true) // a second generation
	l.note("checkpoint", l.db.head.Checkpoint())
	l.append(finished("later", now))
	_, err = l.db.Snapshot(ctx)
	l.note("snapshot", err)
	_, err = Backup(ctx, BackupOptions{Dir: l.dir, Dest: l.dest, Now: l.c.now})
	l.note("backup", err)
	for range 3 { // midnight
		l.c.add(time.Hour)
		_, err = l.db.compact.Retain(ctx, l.db.cuttable())
		l.note("retain", err)
	}
	l.note("close", l.db.Close())
	l.db = nil
}

// told reports whether anybody heard of a failure: it is an answer, or counted.
// That the log says so is not enough.
func (l *life) told() bool {
	told := len(l.errs) > 0
	for _, reg := range l.regs {
		told = told || value(l.t, reg, "daybook_background_failures_total") > 0
	}
	return told
}

// holds wants a healthy disk to bring everything back.
func (l *life) holds() {
	t := l.t
	t.Helper()
	if l.db != nil {
		t.Fatal("still open")
	}
	l.errs = nil
	if !l.open() {
		t.Fatalf("it does not start on a healthy disk: %v", l.errs)
	}
	ctx := context.Background()
	l.append(finished("afterwards", l.c.now()))
	if _, err := l.db.Cut(ctx, true); err != nil || len(l.errs) > 0 {
		t.Fatalf("it does not store on a healthy disk: %v %v", err, l.errs)
	}
	if _, err := l.db.compact.Retain(ctx, l.db.cuttable()); err != nil {
		t.Fatal(err)
	}
	for name, err := range l.db.compact.Unreadable() {
		t.Errorf("%s: %v", name, err)
	}
	all := contents(t, l.db)
	l.compare("the directory", all)
	sums, _, err := l.db.Tasks(ctx, 0, l.db.now()+1, "")
	total := 0
	for _, s := range sums {
		total += int(s.Total)
	}
	if err != nil || total != len(all) {
		t.Errorf("the summaries count %d of %d: %v; %+v", total, len(all), err, all)
	}
	if err := l.db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if h := l.db.Health(); !h.CanStore {
		t.Errorf("health: %+v", h)
	}
	if found := findings(t, l.db); len(found) > 0 {
		t.Errorf("verify: %+v", found)
	}
	if _, err := Backup(ctx, BackupOptions{Dir: l.dir, Dest: l.dest, Now: l.c.now}); err != nil {
		t.Errorf("backup: %v", err)
	}
	if err := l.db.Close(); err != nil {
		t.Error(err)
	}
	l.db = nil
	o := l.options()
	l.compare("the backup", opened(t, l.dest, o))
	left, err := os.ReadDir(filepath.Join(l.dir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left under tmp: %v %v", left, err)
	}
}

func (l *life) compare(what string, got map[string]task.Invocation) {
	l.t.Helper()
	floor := task.DayOf(l.c.now().Add(-l.options().RetentionTime).UnixMicro()).Start()
	for id, w := range l.acked {
		g, ok := got[id]
		if !ok && w.RowTime() < floor {
			continue
		}
		m := task.Merge(g, w)
		if !ok || !sameKnowledge(m, g) {
			l.t.Errorf("%s: %s was acknowledged as %s, is %s", what, id, task.AppendJSON(nil, &w), task.AppendJSON(nil, &g))
		}
	}
	for id, g := range got {
		if s := l.sent[id]; !sameKnowledge(task.Merge(s, g), s) {
			l.t.Errorf("%s: %s says what was not sent: %s", what, id, task.AppendJSON(nil, &g))
		}
	}
}

// silent are operations of SQLite whose failure costs nothing and is not told: a checkpoint
// that comes with a commit is done again with the next one, and what is not deleted when a
// file is closed is found at the next start.
func silent(failed map[string]bool) bool {
	for op := range maps.Keys(failed) {
		if !strings.HasPrefix(op, "sqlite.") {
			return false
		}
	}
	return true
}

// TestFailEveryOperation lets operation i fail, for every i, once or for a while, with the
// errors that disks and kernels have: somebody is told, nothing that was acknowledged is
// lost, and when the fault goes everything works again.
func TestFailEveryOperation(t *testing.T) {
	d := &disk{ops: map[string]int{}, quiet: map[string]int{}}
	defer fault.Set(d.hook)()
	l := newLife(t, t.TempDir())
	l.run()
	if l.told() {
		t.Fatal(l.errs, l.said())
	}
	l.holds()
	total := d.n
	seed := *faultsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(seed, 1))
	step := func() int { return 1 + r.IntN(2*total/60) }
	if *faultsAll {
		step = func() int { return 1 }
	} else if testing.Short() {
		step = func() int { return 1 + r.IntN(2*total/20) }
	}
	t.Logf("%d operations, seed %d", total, seed)
	if *faultsOnly != "" {
		var i, long, errno int
		if _, err := fmt.Sscanf(*faultsOnly, "%d %d %d", &i, &long, &errno); err != nil {
			t.Fatal(err)
		}
		d.fail(t, i, long, syscall.Errno(errno))
		return
	}
	for i := step(); i < total; i += step() {
		for _, long := range []int{1, 1 + r.IntN(40)} {
			errno := oneOf(r, syscall.EIO, syscall.ENOSPC, syscall.EMFILE)
			if !t.Run(fmt.Sprintf("%d+%d %s", i, long, errno), func(t *testing.T) { d.fail(t, i, long, errno) }) {
				t.Fatalf("again: -faults.only='%d %d %d'", i, long, errno)
			}
		}
	}
	t.Logf("failed: %v; not told: %v", d.ops, d.quiet)
}

// fail is one life with a fault.
func (d *disk) fail(t *testing.T, i, long int, errno syscall.Errno) {
	d.from, d.to, d.err, d.n, d.first, d.failed = i, i+long, errno, 0, "", nil
	l := newLife(t, t.TempDir())
	l.run()
	if !d.mends() {
		return
	}
	for op := range d.failed {
		d.ops[op]++
	}
	if !l.told() {
		if !silent(d.failed) {
			t.Errorf("nobody was told of %s", d.first)
		}
		d.quiet[d.first[:strings.Index(d.first, " ")]]++
	}
	told := fmt.Sprint(l.errs, l.said())
	defer func() {
		if t.Failed() {
			t.Logf("first failed: %s; told: %s", d.first, told)
		}
	}()
	l.holds()
}
