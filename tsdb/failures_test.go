package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"daybook/head/wal"
)

// value is what a metric shows, summed over its series.
func value(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// ails wants health to give a reason with these words, or none if there are no words.
func ails(t testing.TB, db *DB, stores bool, words ...string) {
	t.Helper()
	h := db.Health()
	all := strings.Join(h.Reasons, "; ")
	if h.CanStore != stores || len(words) == 0 && all != "" {
		t.Fatalf("stores %v, reasons %q; want stores %v, %q", h.CanStore, all, stores, words)
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Fatalf("stores %v, reasons %q; want %q", h.CanStore, all, words)
		}
	}
}

// While an operation fails the log has it once a minute, whatever it fails with: the
// text of errors has numbers in it, and those that are joined come in any order.
func TestFailuresAreLoggedOnceAMinute(t *testing.T) {
	c := &testClock{at: noon}
	var said strings.Builder
	o := testOptions(t.TempDir(), c)
	o.Logger = log.NewLogfmtLogger(log.NewSyncWriter(&said))
	db := start(t, o)
	defer db.Close()
	lines := func(op operation) int { return strings.Count(said.String(), "operation="+string(op)+" ") }
	for i := range 20 {
		db.tried(opCut, fmt.Errorf("%d bytes are missing", i))
		db.tried(opSeal, errors.New("no room"))
		if i%2 == 0 {
			db.tried(opCut, nil)
		}
	}
	if lines(opCut) != 1 || lines(opSeal) != 1 {
		t.Errorf("%d and %d lines, want one of each:\n%s", lines(opCut), lines(opSeal), said.String())
	}
	db.failures.m[opCut].logged = time.Now().Add(-failureLogged)
	db.tried(opCut, errors.New("still"))
	if lines(opCut) != 2 {
		t.Errorf("after a minute: %d lines", lines(opCut))
	}
}

// brokenFS is a file system whose fsyncs fail while it is broken.
type brokenFS struct {
	wal.FS
	broken atomic.Bool
}

func (s *brokenFS) Create(path string) (wal.File, error)    { return s.wrap(s.FS.Create(path)) }
func (s *brokenFS) OpenWrite(path string) (wal.File, error) { return s.wrap(s.FS.OpenWrite(path)) }

func (s *brokenFS) wrap(f wal.File, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return brokenFile{f, s}, nil
}

type brokenFile struct {
	wal.File
	fs *brokenFS
}

func (f brokenFile) Sync() error {
	if f.fs.broken.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

// A cut that fails is told while requests are acknowledged, and a log that fails
// while cuts go well: each is made up for by its own success only.
func TestEachFailureIsTold(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	disk, reg := &brokenFS{FS: wal.OS}, prometheus.NewRegistry()
	var stuck atomic.Bool
	o := testOptions(t.TempDir(), c)
	o.walFS, o.Metrics, o.RetentionTime = disk, reg, 0
	o.step = func(string) error {
		if stuck.Load() {
			return errors.New("the cutter is stuck")
		}
		return nil
	}
	db := start(t, o)
	defer func() { db.Close() }()
	ctx := context.Background()
	round := func() {
		c.add(10 * time.Second)
		db.cutRound(ctx)
	}
	mustAppend(t, db, finished("a", noon.Add(-24*time.Hour)))
	round()
	ails(t, db, true)

	stuck.Store(true)
	mustAppend(t, db, finished("a", noon)) // its row is to be deleted from the day before
	for range 2 {
		round()
		mustAppend(t, db, finished("b", noon))
		db.sealRound(ctx)
		ails(t, db, false, "cannot store: cutting: ", "the cutter is stuck")
	}
	if n, can := value(t, reg, "daybook_background_failures_total"), value(t, reg, "daybook_can_store"); n != 2 || can != 0 {
		t.Fatalf("%v failures, daybook_can_store %v", n, can)
	}
	stuck.Store(false)
	round()
	ails(t, db, true)

	disk.broken.Store(true)
	if _, err := db.Append(ctx, []Record{finished("c", noon)}); err == nil {
		t.Fatal("acknowledged on a broken disk")
	}
	ails(t, db, false, "cannot store: writing the log: ")
	if _, err := db.Cut(ctx, true); err == nil {
		t.Fatal("cut on a broken disk")
	}
	db.tried(opCut, nil) // a round with nothing to cut
	db.sealRound(ctx)
	ails(t, db, false, "cannot store: writing the log: ")
	disk.broken.Store(false)
	round() // nobody sends anything
	ails(t, db, true)
	if got := value(t, reg, "daybook_can_store"); got != 1 {
		t.Fatalf("daybook_can_store is %v", got)
	}
}

// A sealed day without a checksum, as a crash between the two leaves it, gets
// one from the running daemon, if it is whole.
func TestMissingChecksumIsWritten(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	db := start(t, o)
	mustAppend(t, db, finished("a", noon.Add(-48*time.Hour)), finished("b", noon.Add(-24*time.Hour)))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, day := range []string{"2026-11-21", "2026-11-22"} {
		path := filepath.Join(o.Dir, "days", day+".db.sha256")
		b, err := os.ReadFile(path)
		if err := errors.Join(err, os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		sums[path] = string(b)
	}
	damaged := filepath.Join(o.Dir, "days", "2026-11-21.db")
	b, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[len(b)-8192 : len(b)-8192+64]) // the last page but one
	if err := errors.Join(os.Chmod(damaged, 0o644), os.WriteFile(damaged, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	func() {
		db := running(t, o)
		until(t, "the checksum is there", func() bool { return exists(filepath.Join(o.Dir, "days", "2026-11-22.db.sha256")) })
		until(t, "the damaged file is found", func() bool { return strings.Contains(strings.Join(db.Health().Reasons, ""), "2026-11-21.db: ") })
		ails(t, db, true, "a sealed day has no checksum: 2026-11-21.db: and is damaged")
	}()
	for path, want := range sums {
		got, err := os.ReadFile(path)
		if day := filepath.Base(path); strings.HasPrefix(day, "2026-11-21") {
			if !os.IsNotExist(err) {
				t.Errorf("what is damaged was declared whole: %q %v", got, err)
			}
		} else if err != nil || string(got) != want {
			t.Errorf("%s is %q, was %q: %v", day, got, want, err)
		}
	}
}

// What cannot be noted for the tools stops no start, and is told.
func TestLegacyNoteCannotBeWritten(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 0
	o.Legacy = []string{fixture(t, "gen1-small.db", t.TempDir())}
	note := filepath.Join(o.Dir, attachedName)
	if err := os.MkdirAll(filepath.Join(note, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	db := start(t, o)
	defer func() { db.Close() }()
	ails(t, db, true, "noted for the tools")
	if err := os.RemoveAll(note); err != nil {
		t.Fatal(err)
	}
	db.retainRound(context.Background())
	ails(t, db, true)
	if got := db.attachedPaths(); len(got) != 1 || got[0] != o.Legacy[0] {
		t.Errorf("%q", got)
	}
}
