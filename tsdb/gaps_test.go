package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// gapModel is the naive account of what is missing.
type gapModel struct {
	t    *testing.T
	r    *rand.Rand
	c    *testClock
	db   *DB
	o    Options
	want task.GapSet
	n    int
	log  []string
}

func (m *gapModel) did(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *gapModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%v\nafter:\n%s", err, strings.Join(m.log, "\n"))
	}
}

// add states a new gap, or that an old one has grown.
func (m *gapModel) add() {
	now := m.c.now().UnixMicro()
	all := m.want.Sorted()
	if len(all) > 0 && m.r.IntN(3) == 0 {
		g := all[m.r.IntN(len(all))]
		g.To, g.Count = oneOf(m.r, g.To, now, min(now, g.To+m.r.Int64N(3*24*3600*1e6))), g.Count+m.r.Int64N(3)
		m.db.AddGap(g)
		m.want.Add(g)
		m.did("gap %s grows to %s, %d", g.Source, stamp(g.To), g.Count)
		return
	}
	m.n++
	to := oneOf(m.r, now, now-m.r.Int64N(5*24*3600*1e6), task.DayOf(now).Start())
	g := task.Gap{Source: fmt.Sprint("s", m.n%3), Cause: oneOf(m.r, "a", "b"), From: to - oneOf(m.r, 0, m.r.Int64N(1e6), m.r.Int64N(2*24*3600*1e6)) - int64(m.n), To: to, Count: m.r.Int64N(5)}
	m.db.AddGap(g)
	m.want.Add(g)
	m.did("gap %s %s from %s to %s", g.Source, g.Cause, stamp(g.From), stamp(g.To))
}

// expected are the gaps of a range that retention has left.
func (m *gapModel) expected(from, to int64) (out []task.Gap) {
	for _, g := range m.want.Sorted() {
		if g.Day() >= m.db.head.Floor() && g.Touches(from, to) {
			out = append(out, g)
		}
	}
	return out
}

func (m *gapModel) check() {
	now := m.c.now().UnixMicro()
	for _, r := range [][2]int64{{0, 0}, {now - m.r.Int64N(6*24*3600*1e6), 0}, {now - 6*24*3600*1e6, now - m.r.Int64N(6*24*3600*1e6)}} {
		page, err := m.db.Select(context.Background(), Query{Filter: task.Filter{From: r[0], To: r[1]}, Limit: 1})
		m.must(err)
		if want := m.expected(r[0], r[1]); !slices.Equal(page.Coverage.Gaps, want) || page.Coverage.Complete && len(want) > 0 {
			m.must(fmt.Errorf("gaps of %s to %s:\n got %+v\nwant %+v", stamp(r[0]), stamp(r[1]), page.Coverage.Gaps, want))
		}
	}
}

func (m *gapModel) step() {
	ctx := context.Background()
	switch m.r.IntN(12) {
	default:
		m.add()
	case 0:
		m.n++
		mustAppend(m.t, m.db, finished(fmt.Sprint("t", m.n), m.c.now().Add(-time.Duration(m.r.IntN(70))*time.Hour)))
		m.did("a row")
	case 1:
		_, err := m.db.compact.Cut(ctx, m.db.cuttable(), false, true)
		m.must(err)
		m.did("cut what has ended")
	case 2:
		_, err := m.db.Cut(ctx, m.r.IntN(2) == 0)
		m.must(err)
		m.did("cut, perhaps seal")
	case 3:
		_, err := m.db.compact.Seal(ctx, false)
		m.must(err)
		m.did("seal what is due")
	case 4:
		m.c.add(oneOf(m.r, time.Second, 2*time.Minute, 9*time.Hour, 30*time.Hour))
		m.must(m.db.compact.Prepare())
		m.did("clock %s", m.c.now())
	case 5:
		m.db.crash(m.t)
		m.db = start(m.t, m.o)
		m.did("crash")
	case 6:
		m.must(m.db.Close())
		m.db = start(m.t, m.o)
		m.did("close and open")
	case 7:
		m.must(m.db.head.Checkpoint())
		m.did("checkpoint")
	case 8:
		_, err := m.db.compact.Retain(ctx, m.db.cuttable())
		m.must(err)
		m.did("retention, floor %s", m.db.head.Floor())
	}
}

// shown are the gaps that a directory says it has, when it is served read-only.
func (m *gapModel) shown(dir string) []task.Gap {
	o := m.o
	o.Dir = dir
	db, err := OpenReadOnly(o)
	m.must(err)
	defer db.Close()
	page, err := db.Select(context.Background(), Query{Limit: 1})
	m.must(err)
	notes := 0
	m.must(db.Verify(context.Background(), nil, func(f Finding) {
		if !f.Note {
			m.must(fmt.Errorf("verify: %+v", f))
		}
		if strings.HasPrefix(f.Problem, "gap from ") {
			notes++
		}
	}))
	if notes < min(len(page.Coverage.Gaps), gapsListed) {
		m.must(fmt.Errorf("verify notes %d gaps of %d", notes, len(page.Coverage.Gaps)))
	}
	return page.Coverage.Gaps
}

// copies serves what was copied from the directory: a backup, a snapshot, and
// the days alone.
func (m *gapModel) copies() {
	ctx := context.Background()
	want := m.expected(0, 0)
	s, err := m.db.Snapshot(ctx)
	m.must(err)
	if got := m.shown(filepath.Join(m.o.Dir, s.Path)); !slices.Equal(got, want) {
		m.must(fmt.Errorf("the snapshot shows %+v, want %+v", got, want))
	}
	m.must(m.db.settleGaps()) // as every round of the cutter does
	dest := m.t.TempDir()
	_, err = Backup(ctx, BackupOptions{Dir: m.o.Dir, Dest: dest, Now: m.c.now})
	m.must(err)
	if got := m.shown(dest); !slices.Equal(got, want) {
		m.must(fmt.Errorf("the backup shows %+v, want %+v", got, want))
	}
	_, err = m.db.Cut(ctx, true)
	m.must(err)
	if gaps := m.db.head.Gaps(); len(gaps) > 0 {
		m.must(fmt.Errorf("the head keeps what is stored: %+v", gaps))
	}
	m.must(m.db.Close()) // replaced files have gone then
	m.db = start(m.t, m.o)
	days := m.t.TempDir()
	m.must(os.CopyFS(days, os.DirFS(filepath.Join(m.o.Dir, "days"))))
	var there task.GapSet
	for _, g := range m.shown(days) {
		there.Add(g)
	}
	today := task.DayOf(m.c.now().UnixMicro())
	for _, g := range want {
		switch got := there.Get(g); {
		case g.Day() < today && got != g:
			m.must(fmt.Errorf("the copied days show %+v, want %+v", got, g))
		case got.To > g.To || got.Count > g.Count:
			m.must(fmt.Errorf("the copied days show %+v, more than %+v", got, g))
		}
		there.Remove(there.Get(g))
	}
	if there.Len() > 0 {
		m.must(fmt.Errorf("out of nothing: %+v", there.Sorted()))
	}
}

// Gaps through cuts, seals, crashes and retention: every one is shown once,
// whole, with the largest count, wherever its day is served.
func TestGapsAgainstModel(t *testing.T) {
	t.Parallel()
	seeds := *modelSeeds
	if testing.Short() {
		seeds = min(seeds, 2)
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 13))
			m := &gapModel{t: t, r: r, c: &testClock{at: noon}}
			m.o = testOptions(t.TempDir(), m.c)
			m.o.RetentionTime = oneOf(r, 0, 4*24*time.Hour)
			m.o.WALSync = "never"
			m.db = start(t, m.o)
			defer func() { m.db.Close() }()
			for range 120 {
				m.step()
				m.check()
			}
			m.copies()
			m.check()
		})
	}
}

// What is refused, one request at a time, becomes one gap a cause and stretch.
func TestRefusalsAreGaps(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 10 * 24 * time.Hour
	o.OnOverflow, o.HeadMaxRecords = OverflowReject, 2
	db := start(t, o)
	ctx := context.Background()
	for range 50 {
		mustAppend(t, db, finished("old", c.now().Add(-20*24*time.Hour)), finished("far", c.now().Add(3*time.Hour)), finished("far2", c.now().Add(4*time.Hour)))
		c.add(100 * time.Millisecond)
	}
	mustAppend(t, db, started("a", c.now()), started("b", c.now()))
	if _, err := db.Append(ctx, []Record{finished("c", c.now())}); !errors.Is(err, ErrOverloaded) {
		t.Fatal(err)
	}
	first, last := noon.UnixMicro(), noon.Add(4900*time.Millisecond).UnixMicro()
	full := noon.Add(5 * time.Second).UnixMicro()
	want := []task.Gap{
		{Source: "clock", Cause: "refused: too far ahead", From: first, To: last, Count: 100},
		{Source: "clock", Cause: "refused: too old", From: first, To: last, Count: 50},
		{Source: "head", Cause: "refused: head full", From: full, To: full},
	}
	if got := db.gaps(0, 0); !slices.Equal(got, want) {
		t.Fatalf("\n got %+v\nwant %+v", got, want)
	}
	c.add(2 * time.Minute) // quiet: then it is another one
	mustAppend(t, db, finished("old", c.now().Add(-20*24*time.Hour)))
	at := c.now().UnixMicro()
	want = append(want, task.Gap{Source: "clock", Cause: "refused: too old", From: at, To: at, Count: 1})
	if err := db.Close(); err != nil { // tells and stores all
		t.Fatal(err)
	}
	db = start(t, o)
	defer db.Close()
	if n := len(db.head.Gaps()); n > 0 {
		t.Fatalf("%d gaps are in the head and stored", n)
	}
	if got := db.gaps(0, 0); !slices.Equal(got, want) {
		t.Fatalf("after a restart:\n got %+v\nwant %+v", got, want)
	}
}

// What the overflow policy drops, chunk by chunk, is one gap while it goes on.
func TestDropsAreOneGap(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.HeadMaxRecords = 10
	db := start(t, o)
	defer db.Close()
	for i := range 20 {
		mustAppend(t, db, finished(fmt.Sprint("t", i), c.now()))
		c.add(time.Second)
		if i >= 9 {
			db.dropOldest(func() bool { return false })
		}
	}
	got := db.gaps(0, 0)
	if len(got) != 1 || got[0].Count != 11 || got[0].From != noon.UnixMicro() || got[0].To != c.now().UnixMicro() {
		t.Fatalf("%+v", got)
	}
}

// What a replayed log says of gaps that are stored is not stored again: it would make
// an overlay of every past day concerned, and have each sealed again as a whole. What
// it says more is.
func TestReplayedGapsAreNotStoredAgain(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	ctx := context.Background()
	day := task.DayOf(noon.UnixMicro()) - 1
	gap := task.Gap{Source: "redis://h/0", Cause: "broker lost", From: day.Start(), To: day.Start() + 1000, Count: 1}
	mustAppend(t, db, finished("a", noon.Add(-24*time.Hour)))
	db.AddGap(gap)
	cut := func(seal bool) {
		t.Helper()
		if _, err := db.Cut(ctx, seal); err != nil {
			t.Fatal(err)
		}
	}
	again := func() {
		t.Helper()
		db.crash(t)
		db = start(t, o)
		if gaps := db.head.Gaps(); len(gaps) != 1 {
			t.Fatalf("the log states %+v", gaps)
		}
		cut(false)
		if gaps := db.head.Gaps(); len(gaps) != 0 {
			t.Fatalf("the head keeps %+v", gaps)
		}
	}
	live := func() string {
		found, err := filepath.Glob(filepath.Join(o.Dir, "live", day.String()+"*.db"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(found, " ")
	}
	cut(true)
	again()
	if got := live(); got != "" {
		t.Errorf("the sealed day has an overlay: %s", got)
	}
	gap.To++
	db.AddGap(gap)
	cut(false)
	if live() == "" {
		t.Error("that it has grown is not stored")
	}
	again()
	if got := db.gaps(0, 0); !slices.Contains(got, gap) {
		t.Errorf("%+v", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A daemon that is killed before it is ready does not hide how long none ran.
func TestDowntimeOutlivesAFailedStart(t *testing.T) {
	t.Parallel()
	c := &testClock{at: time.Now()}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	seen := c.now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(o.Dir, "LOCK"), seen, seen); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		db, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		db.crash(t)
	}
	db = start(t, o)
	defer db.Close()
	db.noteDowntime()
	if got := db.gaps(0, 0); len(got) != 1 || got[0].From != seen.UnixMicro() || got[0].To != c.now().UnixMicro() {
		t.Fatalf("%+v", got)
	}
}
