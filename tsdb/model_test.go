package tsdb

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// testClock is a clock that only the test moves.
type testClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func testOptions(dir string, c *testClock) Options {
	o := DefaultOptions()
	o.Dir, o.Now = dir, c.now
	return o
}

// start opens a DB and replays its log, without the loops of Run.
func start(t testing.TB, o Options) *DB {
	t.Helper()
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.replay(context.Background()); err != nil {
		t.Fatal(err)
	}
	db.ready.Store(true)
	db.trimReplayed()
	return db
}

// crash lets go of the directory without cutting, checkpointing or tidying.
func (db *DB) crash(t testing.TB) {
	t.Helper()
	db.closed.Store(true)
	if err := db.release(); err != nil {
		t.Fatal(err)
	}
}

// model is the naive account of what was acknowledged.
type model struct {
	t    *testing.T
	r    *rand.Rand
	c    *testClock
	db   *DB
	o    Options
	want map[string]task.Invocation
	log  []string // what was done, for a failure
	fail bool     // a step of the next cut fails
	half bool     // one has failed since the start: the next start ends what it began
	// again, if not nil, says when what is open again after it was given up is given up
	// again. It is not r, so that a sequence is the one that it was before that was there.
	again    *rand.Rand
	reopened int // how many were
}

var errStep = errors.New("the test lets this step fail")

func (m *model) did(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *model) failf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(m.log[max(0, len(m.log)-40):], "\n"))
}

func (m *model) append() {
	now := m.c.now().UnixMicro()
	recs := make([]Record, 1+m.r.IntN(8))
	for i := range recs {
		at := now - m.r.Int64N(3*24*3600*1_000_000)
		if m.r.IntN(2) == 0 {
			at = now - m.r.Int64N(5_000_000)
		}
		e := task.Event{TaskID: fmt.Sprint("task-", m.r.IntN(40)), State: task.States[m.r.IntN(len(task.States))], At: at,
			Worker: oneOf(m.r, "celery@host-0", "celery@host-1", "celery@other", "celery@"), TaskName: fmt.Sprint("name", m.r.IntN(3)), Retries: oneOf(m.r, task.RetriesUnknown, task.RetriesUnknown, 0, 2),
			Args: strings.Repeat("x", m.r.IntN(50)), Result: "r", ExceptionType: oneOf(m.r, "E", "F"), Queue: oneOf(m.r, "", "q", "slow"), RootID: oneOf(m.r, "", "r"),
			ETA: oneOf(m.r, 0, 0, at-m.r.Int64N(60_000_000)), HasRuntime: m.r.IntN(4) > 0, Runtime: m.r.Int64N(1 << (1 + m.r.IntN(30)))}
		recs[i] = Record{Invocation: e.Invocation()}
	}
	for _, r := range recs {
		m.did("append %s %s at %s", r.TaskID, r.State, stamp(r.UpdatedAt))
	}
	before := slices.Clone(recs)
	out, err := m.db.Append(context.Background(), recs)
	if err != nil || out.Dropped > 0 {
		m.failf("append: %+v %v", out, err)
	}
	refused := map[int]bool{}
	for _, r := range out.Refused {
		refused[r.Index] = true
	}
	for i, r := range before {
		if !refused[i] {
			m.want[r.TaskID] = task.Merge(m.want[r.TaskID], r.Invocation)
		}
	}
	clear(recs) // the caller may use its memory again
}

// reopen appends an event to some of what is given up.
func (m *model) reopen() {
	for _, id := range slices.Sorted(maps.Keys(m.want)) {
		v, err := m.db.Get(context.Background(), id)
		if err != nil {
			m.failf("get %s: %v", id, err)
		}
		if v.GivenUpAt == 0 || m.again.IntN(2) == 0 {
			continue
		}
		r := started(id, m.c.now())
		m.want[id] = task.Merge(m.want[id], r.Invocation)
		m.did("reopen %s", id)
		mustAppend(m.t, m.db, r)
	}
}

// sameKnowledge compares everything but when it was given up.
func sameKnowledge(a, b task.Invocation) bool {
	a.GivenUpAt, b.GivenUpAt = 0, 0
	return string(task.AppendBinary(nil, &a)) == string(task.AppendBinary(nil, &b))
}

// all walks through all pages.
func (m *model) all(q Query) []task.Invocation {
	var out []task.Invocation
	for {
		page, err := m.db.Select(context.Background(), q)
		if err != nil || !page.Complete || len(page.Coverage.Unreadable) > 0 {
			m.failf("select: %v %+v", err, page.Coverage)
		}
		out = append(out, page.Invocations...)
		if page.Next == nil {
			return out
		}
		if len(page.Invocations) != q.Limit {
			m.failf("a page of %d, limit %d, is not the last", len(page.Invocations), q.Limit)
		}
		q.After = page.Next
	}
}

func (m *model) check() {
	ctx := context.Background()
	all := m.all(Query{Limit: 1000, Oldest: true, Details: true})
	seen := map[string]task.Invocation{}
	for i, v := range all {
		if _, twice := seen[v.TaskID]; twice {
			m.failf("%s is shown twice", v.TaskID)
		}
		seen[v.TaskID] = v
		if i > 0 && all[i-1].Key().Compare(v.Key()) >= 0 {
			m.failf("%s and %s are out of order", all[i-1].TaskID, v.TaskID)
		}
	}
	floor := m.db.head.Floor().Start()
	for id, w := range m.want {
		v, ok := seen[id]
		if !ok {
			if w.State.Finished() && w.FinishedAt < floor || !w.State.Finished() && w.UpdatedAt < floor {
				delete(m.want, id)
				continue
			}
			m.failf("%s is lost: %s", id, task.AppendJSON(nil, &w))
		}
		if !sameKnowledge(v, w) {
			m.failf("%s differs:\n got %s\nwant %s", id, task.AppendJSON(nil, &v), task.AppendJSON(nil, &w))
		}
		got, err := m.db.Get(ctx, id)
		if err != nil || !sameKnowledge(got, w) || got.GivenUpAt != v.GivenUpAt {
			m.failf("get %s: %v\n got %s\nwant %s", id, err, task.AppendJSON(nil, &got), task.AppendJSON(nil, &w))
		}
	}
	for id := range seen {
		if _, ok := m.want[id]; !ok {
			m.failf("%s comes out of nothing", id)
		}
	}
	if rows, exact := m.count(); exact && rows != int64(len(seen)) {
		m.failf("%d rows are counted, %d are there", rows, len(seen))
	}
	m.checkFilter(all)
	m.checkCount(all)
	m.checkSums(all)
	if m.r.IntN(6) == 0 {
		m.checkSQL(all)
	}
}

func (m *model) count() (int64, bool) {
	view := m.db.catalog.View()
	defer view.Release()
	rows, exact := view.Rows()
	exact = exact && !m.fail
	n := m.db.head.Stats().Records
	return rows + n + m.db.compact.Parked().Rows(), exact && n == 0
}

// checkFilter compares a random query with the filter over a plain slice.
func (m *model) checkFilter(all []task.Invocation) {
	q := Query{Limit: 1 + m.r.IntN(7), Oldest: m.r.IntN(2) == 0, Details: m.r.IntN(3) > 0}
	if m.r.IntN(2) == 0 {
		q.States = []task.State{task.States[m.r.IntN(len(task.States))], task.States[m.r.IntN(len(task.States))]}
	}
	if m.r.IntN(2) == 0 {
		q.TaskNames = []string{oneOf(m.r, "name0", "name*", "name1", "none")}
	}
	if m.r.IntN(3) == 0 {
		q.Workers = []string{"celery@host-1"}
	}
	if m.r.IntN(2) == 0 {
		q.From = m.c.now().Add(-time.Duration(m.r.IntN(60)) * time.Hour).UnixMicro()
		q.To = q.From + int64(m.r.IntN(40))*3600*1_000_000
	}
	switch m.r.IntN(8) {
	case 0:
		q.Queues = []string{oneOf(m.r, "q", "none"), "slow"}
	case 1:
		q.WorkerGroup = oneOf(m.r, "host", "other", "none")
	case 2:
		q.ExceptionType = oneOf(m.r, "E", "F", "none")
	case 3:
		q.MinRuntime, q.HasMinRuntime = m.r.Int64N(1<<20), true
	case 4:
		q.MaxRuntime, q.HasMaxRuntime = m.r.Int64N(1<<20), true
	case 5:
		q.MinRetries = 1 + m.r.Int32N(2)
	}
	q.Open = m.r.IntN(5) == 0
	if len(all) > 0 && m.r.IntN(2) == 0 {
		v := &all[m.r.IntN(len(all))]
		q.Text, _ = text.Parse(oneOf(m.r, v.TaskID, v.TaskName, v.Args, v.Outcome.Result, "/"+v.TaskID[1:]+"/", v.TaskID[:2]+"*", v.Outcome.ExceptionMessage, "nowhere"))
		if m.r.IntN(4) == 0 {
			q.RootID = v.RootID
		}
	}
	if m.r.IntN(5) == 0 {
		q.OpenBefore = m.c.now().Add(-time.Duration(m.r.IntN(40)) * time.Hour).UnixMicro()
	}
	var want []string
	for _, v := range all {
		if q.matches(&v) {
			want = append(want, v.TaskID)
		}
	}
	if !q.Oldest {
		slices.Reverse(want)
	}
	var got []string
	for _, v := range m.all(q) {
		got = append(got, v.TaskID)
	}
	if n, err := m.db.Count(context.Background(), CountQuery{Filter: q.Filter, Text: q.Text}); err != nil || n.Total != int64(len(want)) {
		m.failf("count of %+v: %d, %v, want %d", q, n.Total, err, len(want))
	}
	if !slices.Equal(got, want) {
		m.failf("query %+v:\n got %v\nwant %v", q, got, want)
	}
}

func oneOf[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// step does one random thing.
func (m *model) step() {
	ctx := context.Background()
	m.fail = m.r.IntN(4) == 0
	must := func(err error) {
		if err != nil && !errors.Is(err, errStep) {
			m.failf("%v", err)
		}
		if err != nil {
			m.did("a step failed")
			m.half = true
			if m.r.IntN(2) == 0 {
				m.restart("crash", false, m.db.crash)
			}
		}
	}
	if m.again != nil && m.again.IntN(6) == 0 {
		if m.reopen(); m.again.IntN(3) == 0 {
			return
		}
		n, err := m.db.compact.CutReopened(ctx, m.db.cuttable(), 1+m.again.IntN(20), m.again.IntN(2) == 0, true)
		m.did("give %d up again", n)
		m.reopened += n
		must(err)
		return
	}
	switch m.r.IntN(16) {
	default:
		m.append()
	case 0, 1:
		_, err := m.db.Cut(ctx, false)
		m.did("cut")
		must(err)
	case 2:
		_, err := m.db.compact.Cut(ctx, m.db.cuttable(), false, true)
		m.did("cut what is settled")
		must(err)
	case 3:
		_, err := m.db.Cut(ctx, true)
		m.did("cut and seal")
		must(err)
	case 4:
		_, err := m.db.compact.Seal(ctx, false)
		must(err)
		m.did("seal what is due")
	case 5:
		d := oneOf(m.r, time.Second, time.Minute, 50*time.Minute, 13*time.Hour)
		m.c.add(d)
		m.did("clock + %s", d)
		must(m.db.compact.Prepare())
	case 6:
		_, err := m.db.compact.Park(ctx, m.db.cuttable(), 1+m.r.IntN(5), true)
		m.did("park")
		must(err)
	case 7:
		must(m.db.giveUpParked(ctx))
		m.did("give up parked")
	case 8:
		must(m.db.head.Checkpoint())
		m.did("checkpoint")
	case 9:
		m.restart("crash", false, m.db.crash)
	case 10:
		m.fail = false
		m.restart("close and open", true, func(testing.TB) { must(m.db.Close()) })
	case 11:
		if m.o.RetentionSize > 0 && m.r.IntN(2) == 0 {
			n, err := retainOldest(m.t, m.db, m.r.Int64N(2<<20))
			m.did("retention by size deleted %d days", n)
			must(err)
			break
		}
		n, err := m.db.compact.Retain(ctx, m.db.cuttable())
		m.did("retention deleted %d days", n)
		must(err)
	}
}

var (
	modelSeeds = flag.Int("model.seeds", 6, "how many sequences of 120 operations TestAgainstModel and TestGapsAgainstModel run; 2 with -short")
	modelFirst = flag.Uint64("model.first", 0, "the seed of the first one")
)

// Operations in random order, against the naive model: a fixed set of sequences,
// thousands of others with -model.seeds (make model).
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	seeds := *modelSeeds
	if testing.Short() {
		seeds = min(seeds, 2)
	}
	first := []uint64{42788, 53604} // an event, the row it was about goes with its day, and a crash
	all := slices.Clone(first)
	for n := range seeds {
		all = append(all, *modelFirst+uint64(n))
	}
	for i, seed := range all {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 77))
			m := &model{t: t, r: r, c: &testClock{at: time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)}, want: map[string]task.Invocation{}}
			if i >= len(first) {
				m.again = rand.New(rand.NewPCG(seed, 78))
			}
			m.o = testOptions(t.TempDir(), m.c)
			m.o.OpenTimeout = oneOf(r, 10*time.Hour, 1000*time.Hour)
			m.o.RetentionTime = oneOf(r, 0, 4*24*time.Hour)
			m.o.WALSync = "never"
			if seed%2 == 1 {
				m.o.RetentionSize = 16 << 20
			}
			m.o.step = func(string) error {
				if m.fail {
					return errStep
				}
				return nil
			}
			m.db = start(t, m.o)
			defer func() { m.db.Close() }()
			for range 120 {
				m.step()
				m.check()
			}
			t.Logf("%d were given up again", m.reopened)
		})
	}
}
