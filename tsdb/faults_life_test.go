//go:build faults

package tsdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"daybook/compact"
	"daybook/tsdb/task"
)

// life is what happens to a data directory, step by step; a step that fails is noted, and
// the next one is taken.
type life struct {
	t    *testing.T
	dir  string
	dest string
	far  string // a backup as on another file system
	c    *testClock
	db   *DB
	logs bytes.Buffer
	mu   sync.Mutex // guards logs
	disk *disk
	met  []met
	// told is what anybody was told, and since how much of it before the last fault.
	told  []error
	since int
	gone  map[task.Day]bool      // days that may have been deleted for their size
	count int                    // the same of failures in the background, which are counted
	regs  []*prometheus.Registry // one a start

	acked, sent map[string]task.Invocation
	// saved is what the backups have at least, by their directory; none that say
	// that they are not whole.
	saved map[string]map[string]task.Invocation
}

// fillerBytes make a data directory too large; without them it is not.
const fillerBytes, sizeCap = 16 << 20, 16 << 20

func newLife(t *testing.T, base string, d *disk) *life {
	return &life{t: t, disk: d, dir: filepath.Join(base, "data"), dest: filepath.Join(base, "backup"), far: filepath.Join(base, "far"), c: &testClock{at: noon.Add(10 * time.Hour)},
		acked: map[string]task.Invocation{}, sent: map[string]task.Invocation{}, gone: map[task.Day]bool{}, saved: map[string]map[string]task.Invocation{}}
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
	o.RetentionSize = sizeCap
	o.OpenTimeout = 100 * 24 * time.Hour
	l.regs = append(l.regs, prometheus.NewRegistry())
	o.Metrics = l.regs[len(l.regs)-1]
	o.Logger = level.NewFilter(log.NewLogfmtLogger(log.NewSyncWriter(l)), level.AllowWarn())
	return o
}

func (l *life) note(what string, err error) {
	if err != nil {
		l.told = append(l.told, fmt.Errorf("%s: %w", what, err))
	}
}

func (l *life) open() bool {
	db, err := Open(l.options())
	if err != nil {
		l.note("open", err)
		return false
	}
	for path, err := range db.legacyErrors { // health has it
		l.note("legacy file "+path, err)
	}
	if err := db.replay(context.Background()); err != nil {
		l.note("replay", err)
		l.note("release", db.release())
		return false
	}
	db.ready.Store(true)
	db.trimReplayed()
	l.db = db
	return true
}

func (l *life) append(recs ...Record) func() error {
	return func() error { return l.store(recs...) }
}

func (l *life) store(recs ...Record) error {
	for _, r := range recs {
		l.sent[r.TaskID] = task.Merge(l.sent[r.TaskID], r.Invocation)
	}
	out, err := l.db.Append(context.Background(), append([]Record(nil), recs...))
	if err != nil {
		return err
	}
	if len(out.Refused) > 0 || out.Dropped > 0 {
		l.t.Fatalf("%+v", out)
	}
	for _, r := range recs {
		l.acked[r.TaskID] = task.Merge(l.acked[r.TaskID], r.Invocation)
	}
	return nil
}

// step is one thing that happens. What fails is told, and without a fault nothing
// may. The faults but the last go when the step is over that has met them, and
// the same process has to be well again.
func (l *life) step(what string, do func() error) {
	l.t.Helper()
	err := do()
	l.note(what, err)
	l.db.compact.Settle()
	if err != nil && !l.disk.fails() {
		l.t.Errorf("%s, on a healthy disk: %v", what, err)
	}
	if l.disk.fails() && l.disk.more() {
		l.mends()
		l.disk.holds(true)
		l.well()
		l.disk.holds(false)
	}
}

// mends lets the disk be well again.
func (l *life) mends() {
	m := l.disk.mends()
	if m.failed == nil {
		return
	}
	count := 0
	for _, reg := range l.regs {
		count += int(value(l.t, reg, "daybook_background_failures_total"))
	}
	m.told = len(l.told) > l.since || count > l.count // that the log says so is not enough
	l.since, l.count = len(l.told), count
	l.met = append(l.met, m)
}

func (l *life) cut(seal bool) func() error {
	return func() error {
		_, err := l.db.Cut(context.Background(), seal)
		return err
	}
}

// backup makes one. One that fails leaves what was there, or says that it is
// unfinished.
func (l *life) backup() error { return l.backupTo(l.dest) }

// backupFar makes one where nothing can be linked.
func (l *life) backupFar() error { return l.backupTo(l.far) }

func (l *life) backupTo(dest string) error {
	acked := maps.Clone(l.acked)
	res, err := Backup(context.Background(), BackupOptions{Dir: l.dir, Dest: dest, Now: l.c.now})
	switch {
	case err == nil && len(res.Problems) > 0: // it says what it does not have
		delete(l.saved, dest)
		return errors.Join(res.Problems...)
	case err == nil:
		l.saved[dest] = acked
	case exists(filepath.Join(dest, "days", compact.UnfinishedBackup)):
		delete(l.saved, dest)
	}
	return err
}

// retainSize deletes for the sake of space: a snapshot that is too large.
func (l *life) retainSize() error {
	_, err := l.db.compact.RetainSpace(context.Background(), l.db.cuttable())
	return err
}

// retainDay deletes a day for the sake of space: with what lies there meanwhile the
// directory is a little too large.
func (l *life) retainDay() error {
	var total int64
	err := filepath.WalkDir(l.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && err == nil {
			total += st.Blocks * 512
		}
		return err
	})
	filler := filepath.Join(l.dir, "filler")
	if err == nil {
		err = os.WriteFile(filler, make([]byte, max(0, sizeCap-total+4096)), 0o644)
	}
	plan, planErr := l.db.PlanRetention()
	err = errors.Join(err, planErr)
	if len(plan.Departures) == 0 && !l.disk.fails() && len(l.met) == 0 { // else all may be linked
		l.t.Error("no day would go")
	}
	for _, d := range plan.Departures { // not those of which the backup has links: they would free nothing
		l.gone[d.Day] = true
	}
	if err != nil {
		l.t.Fatal(err)
	}
	err = l.retainSize()
	if err := os.Remove(filler); err != nil {
		l.t.Fatal(err)
	}
	return err
}

// grow makes the oldest snapshot too large.
func (l *life) grow() {
	names, err := filepath.Glob(filepath.Join(l.dir, "snapshots", "*"))
	if err == nil && len(names) > 0 {
		err = os.WriteFile(filepath.Join(names[0], "days", "filler"), make([]byte, fillerBytes), 0o644)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) park() error {
	_, err := l.db.compact.Park(context.Background(), l.db.cuttable(), 2, true)
	return err
}

func (l *life) snapshot() error {
	_, err := l.db.Snapshot(context.Background())
	return err
}

func (l *life) retain() error {
	_, err := l.db.compact.Retain(context.Background(), l.db.cuttable())
	return err
}

func (l *life) checkpoint() error { return l.db.checkpoint() }

// run is everything that writes.
func (l *life) run() {
	for range 2 { // a supervisor starts it again
		if l.open() {
			break
		}
		if l.disk.more() {
			l.mends()
		}
	}
	if l.db == nil {
		return
	}
	l.step("start", func() error { return nil })
	now := l.c.now()
	day := 24 * time.Hour
	for i := range 3 {
		l.step("append", l.append(finished(fmt.Sprint("a", i), now.Add(-time.Duration(i+1)*day)), started(fmt.Sprint("o", i), now)))
	}
	l.step("cut", l.cut(true))
	l.step("backup", l.backup)
	l.step("append", l.append(finished("late", now.Add(-day)), finished("a1", now.Add(-day)), finished("o0", now))) // a1 moves
	l.step("cut", l.cut(false))
	l.step("park", l.park)
	l.step("append", l.append(finished("o1", now)))
	l.step("cut", l.cut(true)) // a second generation
	l.step("checkpoint", l.checkpoint)
	l.step("append", l.append(finished("later", now)))
	l.step("snapshot", l.snapshot)
	l.grow()
	l.step("retain by size", l.retainSize)
	l.step("backup", l.backup)
	l.step("backup", l.backupFar)
	for range 3 { // midnight
		l.c.add(time.Hour)
		l.step("retain", l.retain)
	}
	l.step("retain by size, a day", l.retainDay)
	err := l.db.Close()
	l.note("close", err)
	l.db = nil
	if err != nil && !l.disk.fails() {
		l.t.Errorf("closing, on a healthy disk: %v", err)
	}
}

// well wants the process that met a fault to work when it has gone, with
// nothing but what its loops do.
func (l *life) well() {
	t := l.t
	t.Helper()
	ctx := context.Background()
	now := l.c.now()
	l.step("append", l.append(finished("well", now), finished("well, yesterday", now.Add(-24*time.Hour)), started("well, open", now)))
	l.db.cutRound(ctx)
	l.step("cut", l.cut(true))
	l.step("park", l.park)
	l.db.cutRound(ctx)
	l.step("checkpoint", l.checkpoint)
	l.step("snapshot", l.snapshot)
	l.step("backup", l.backup)
	l.step("backup", l.backupFar)
	l.step("retain", l.retain)
	l.step("retain by size", l.retainSize)
	l.db.cutRound(ctx)
	l.db.sealRound(ctx)
	l.db.compact.Settle()
	l.db.retainRound(ctx)
	l.db.spaceRound(ctx)
	l.db.compact.Mend(ctx)
	l.db.tried(opLegacySums, l.db.sumLegacies(ctx))
	h := l.db.Health()
	h.Reasons = slices.DeleteFunc(h.Reasons, func(r string) bool {
		return strings.HasPrefix(r, "the clock has jumped") // a start that fails leaves the true time on LOCK, and this clock is another
	})
	if !h.CanStore || len(h.Reasons) > 0 {
		t.Errorf("health, after the fault had gone: %+v", h)
	}
	l.compare("the same process", l.acked, contents(t, l.db))
	if found := findings(t, l.db); len(found) > 0 {
		t.Errorf("verify, in the same process: %+v", found)
	}
}

// holds wants a healthy disk to bring everything back.
func (l *life) holds() {
	t := l.t
	t.Helper()
	if l.db != nil {
		t.Fatal("still open")
	}
	for dest, acked := range l.saved {
		l.compare("the backup before", acked, shown(t, dest, l.options(), false))
	}
	l.told = nil
	if !l.open() {
		t.Fatalf("it does not start on a healthy disk: %v", l.told)
	}
	ctx := context.Background()
	if err := l.store(finished("afterwards", l.c.now())); err != nil {
		t.Fatalf("it does not store on a healthy disk: %v", err)
	}
	if _, err := l.db.Cut(ctx, true); err != nil {
		t.Fatalf("it does not cut on a healthy disk: %v", err)
	}
	if _, err := l.db.compact.Retain(ctx, l.db.cuttable()); err != nil {
		t.Fatal(err)
	}
	if n, err := l.db.compact.RetainSpace(ctx, l.db.cuttable()); err != nil || l.db.compact.Pressure() != "" {
		t.Fatal(n, err, l.db.compact.Pressure())
	}
	for name, err := range l.db.compact.Unreadable() {
		t.Errorf("%s: %v", name, err)
	}
	all := contents(t, l.db)
	l.compare("the directory", l.acked, all)
	sums, _, err := l.db.Tasks(ctx, 0, l.db.now()+1, "")
	total := 0
	for _, s := range sums {
		total += int(s.Total)
	}
	if err != nil || total != len(all) {
		t.Errorf("the summaries count %d of %d: %v; %+v", total, len(all), err, all)
	}
	if err := l.db.checkpoint(); err != nil {
		t.Fatal(err)
	}
	if h := l.db.Health(); !h.CanStore {
		t.Errorf("health: %+v", h)
	}
	if found := findings(t, l.db); len(found) > 0 {
		t.Errorf("verify: %+v", found)
	}
	for _, dest := range []string{l.dest, l.far} {
		if err := l.backupTo(dest); err != nil {
			t.Errorf("backup: %v", err)
		}
	}
	if err := l.db.Close(); err != nil {
		t.Error(err)
	}
	l.db = nil
	l.compare("the backup", l.acked, opened(t, l.dest, l.options()))
	l.compare("the copied backup", l.acked, shown(t, l.far, l.options(), false))
	left, err := os.ReadDir(filepath.Join(l.dir, "tmp"))
	left = slices.DeleteFunc(left, func(e os.DirEntry) bool { return e.Name() == "reserve" })
	if err != nil || len(left) > 0 {
		t.Errorf("left under tmp: %v %v", left, err)
	}
}

// compare wants what is got to have all of acked, and nothing that was not sent.
func (l *life) compare(what string, acked, got map[string]task.Invocation) {
	l.t.Helper()
	floor := task.DayOf(l.c.now().Add(-l.options().RetentionTime).UnixMicro()).Start()
	for id, w := range acked {
		g, ok := got[id]
		if !ok && (w.RowTime() < floor || l.gone[w.Day()]) {
			continue
		}
		if l.gone[w.Day()] && strings.Contains(what, "backup") {
			continue // it may have an older state, of a day that it keeps: no backup came before the newer one's day went
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
