package head

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"daybook/head/wal"
	"daybook/tsdb/task"
)

const second = 1_000_000

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func open(t testing.TB, dir string, c *clock, o Options) *Head {
	t.Helper()
	l, err := wal.Open(dir, wal.Options{SegmentBytes: 4096, Sync: wal.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if o.MaxRecords == 0 {
		o.MaxRecords = 1000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.OpenTimeout == 0 {
		o.OpenTimeout = 24 * time.Hour
	}
	o.Settle, o.Now = 2*time.Second, c.now
	return New(l, o)
}

func replay(t testing.TB, h *Head, known func(uint64, task.Day) bool, relieve func(context.Context) error) {
	t.Helper()
	if relieve == nil {
		relieve = func(context.Context) error { t.Fatal("no room needed"); return nil }
	}
	res, err := h.Replay(context.Background(), Replaying{Known: known, Relieve: relieve})
	if err != nil || len(res.Log.Corruptions) > 0 {
		t.Fatal(err, res.Log.Corruptions)
	}
}

func none(uint64, task.Day) bool { return false }

func event(id string, s task.State, at int64) *task.Invocation {
	v := (&task.Event{TaskID: id, State: s, At: at, Worker: "w@h", Retries: task.RetriesUnknown}).Invocation()
	return &v
}

// add appends one invocation whose base is given.
func add(t testing.TB, h *Head, v *task.Invocation, b Base) Applied {
	t.Helper()
	return addAll(t, h, []*task.Invocation{v}, map[string]Base{v.TaskID: b})
}

func addAll(t testing.TB, h *Head, invs []*task.Invocation, bases map[string]Base) Applied {
	t.Helper()
	_, gen := h.Missing(nil)
	records := Encode(invs)
	defer records.GiveBack()
	a := h.Append(invs, records, bases, gen, false)
	if a.N > 0 {
		if err := h.Wait(a.Ticket); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// store is a naive model of the files: by id, with the cuts it knows.
type store struct {
	rows map[string]task.Invocation
	cuts map[uint64]bool
}

func (s *store) apply(c *Cut) {
	for _, x := range c.Candidates {
		s.rows[x.Inv.TaskID] = *x.Inv
	}
	s.cuts[c.ID] = true
}

// Whatever is appended, cut, dropped, checkpointed and crashed at any point:
// head and store together know exactly what was acknowledged, minus what was
// dropped.
func TestReplayIsExact(t *testing.T) {
	known := 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir, c := t.TempDir(), newClock()
		h := open(t, filepath.Join(dir, "0"), c, Options{})
		replay(t, h, none, nil)
		s := &store{map[string]task.Invocation{}, map[uint64]bool{}}
		want := map[string]task.Invocation{}
		base := c.now().UnixMicro()
		for step := range 150 {
			c.at = c.at.Add(time.Second)
			switch r.IntN(12) {
			default:
				var batch []*task.Invocation
				bases := map[string]Base{}
				big := r.IntN(3) == 0 // and then logged as a block
				for len(batch) == 0 || big && len(batch) < 6 {
					v := event(fmt.Sprint("id", r.IntN(25)), task.States[r.IntN(len(task.States))], base+int64(r.IntN(100))*second)
					if big {
						v.Args = strings.Repeat("x", leastBlock/5)
					}
					var b Base
					if row, ok := s.rows[v.TaskID]; ok {
						b = Base{Inv: &row, Rows: []*task.Invocation{&row}, Alone: !row.Open()}
					}
					batch, bases[v.TaskID] = append(batch, v), b
					want[v.TaskID] = task.Merge(want[v.TaskID], *v)
				}
				a := addAll(t, h, batch, bases)
				if a.N != len(batch) {
					t.Fatalf("seed %d: %+v", seed, a)
				}
				known += a.Known
			case 0, 1: // a cut, perhaps with an event of one of its ids in the middle, perhaps failing
				cut := h.BeginCut(task.DayOf(base), h.Ready(r.IntN(2) == 0, 10), true)
				if len(cut.Candidates) > 0 && r.IntN(2) == 0 {
					v := event(cut.Candidates[0].Inv.TaskID, task.StateSuccess, base+int64(r.IntN(100))*second)
					add(t, h, v, Base{})
					want[v.TaskID] = task.Merge(want[v.TaskID], *v)
				}
				stored := r.IntN(4) > 0
				if stored {
					if err := h.log.Sync(); err != nil {
						t.Fatal(err)
					}
					s.apply(cut)
				}
				h.FinishCut(cut, map[bool]Outcome{true: Stored}[stored])
			case 2:
				if err := h.Checkpoint(); err != nil {
					t.Fatal(err)
				}
			case 3: // crash: the log as it is on disk, opened by a new head
				next := filepath.Join(dir, fmt.Sprint(step+1))
				if err := os.CopyFS(next, os.DirFS(filepath.Join(dir, currentDir(t, dir)))); err != nil {
					t.Fatal(err)
				}
				h = open(t, next, c, Options{})
				for id := range s.cuts { // as the files tell
					h.CutSeen(id)
				}
				replay(t, h, func(id uint64, _ task.Day) bool { return s.cuts[id] }, nil)
				for below := math.MaxInt; ; {
					var ids []string
					if ids, below = h.Unresolved(3, below); len(ids) == 0 {
						break
					}
					for _, id := range ids {
						var b Base
						if row, ok := s.rows[id]; ok {
							b = Base{Inv: &row, Rows: []*task.Invocation{&row}}
						}
						h.Resolve(id, b, b.Inv != nil)
					}
				}
				if left, _ := h.Unresolved(1000, math.MaxInt); len(left) > 0 {
					t.Fatalf("still unresolved: %v", left)
				}
			}
			for id, w := range want {
				got := h.Get(id)
				if got == nil {
					row, ok := s.rows[id]
					if !ok {
						t.Fatalf("seed %d step %d: %s is lost", seed, step, id)
					}
					got = &row
				}
				if string(task.AppendJSON(nil, got)) != string(task.AppendJSON(nil, &w)) {
					t.Fatalf("seed %d step %d:\n got %s\nwant %s", seed, step, task.AppendJSON(nil, got), task.AppendJSON(nil, &w))
				}
			}
			checkAccounts(t, h)
		}
	}
	if known == 0 {
		t.Error("nothing came that its row said already")
	}
}

// What a stored row says already is acknowledged, and neither logged nor held: alone,
// among others, and when the head is full. What adds to it is, and what is said of a
// row that is not alone.
func TestKnownIsNotTakenIn(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	h := open(t, dir, c, Options{MaxRecords: 2})
	replay(t, h, none, nil)
	at := c.now().UnixMicro()
	row := task.Merge(*event("x", task.StateStarted, at), *event("x", task.StateSuccess, at+5))
	stored := Base{Inv: &row, Rows: []*task.Invocation{&row}, Alone: true}
	bases := map[string]Base{"x": stored, "y": {}, "z": {}, "full": {}}
	logged := func() (out []string) {
		t.Helper()
		var u unpacker
		if _, err := wal.Read(dir, func() { out = nil }, func(b []byte) error {
			return u.understood(b, func(rec *record) error {
				if rec.kind == kindEvent {
					out = append(out, rec.inv.TaskID)
				}
				return nil
			}, func() {})
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	again := event("x", task.StateStarted, at)
	if a := addAll(t, h, []*task.Invocation{again, &row, again}, bases); a.N != 3 || a.Known != 3 || a.Ticket != (wal.Ticket{}) || len(logged()) > 0 {
		t.Fatalf("%+v, logged %v", a, logged())
	}
	if a := addAll(t, h, []*task.Invocation{again, event("y", task.StateStarted, at), again, event("z", task.StateStarted, at), again, event("full", task.StateStarted, at)}, bases); a.N != 5 || a.Known != 3 || !a.Full || fmt.Sprint(logged()) != "[y z]" {
		t.Fatalf("%+v, logged %v", a, logged())
	}
	if n, _ := h.Size(); n != 2 || h.Get("x") != nil {
		t.Fatal("it is held", n)
	}
	h.opts.MaxRecords = 10
	for _, b := range []struct {
		what string
		base Base
		v    *task.Invocation
	}{
		{"adds", stored, event("x", task.StateReceived, at-5)},
		{"newer", stored, event("x", task.StateReceived, at+50)},
		{"two rows", Base{Inv: &row, Rows: []*task.Invocation{&row, &row}}, again},
		{"a legacy file says more", Base{Inv: event("x", task.StateSuccess, at+7), Rows: []*task.Invocation{&row}, Alone: true}, again},
	} {
		before := len(logged())
		if a := add(t, h, b.v, b.base); a.N != 1 || a.Known != 0 || h.Get("x") == nil || len(logged()) != before+1 {
			t.Fatalf("%s: %+v", b.what, a)
		}
		h.forget([]string{"x"})
	}
}

// currentDir is the log directory with the highest number.
func currentDir(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	best := 0
	for _, e := range entries {
		var n int
		fmt.Sscan(e.Name(), &n)
		best = max(best, n)
	}
	return fmt.Sprint(best)
}

// checkAccounts recounts what the head keeps count of.
func checkAccounts(t *testing.T, h *Head) {
	t.Helper()
	var bytes int64
	n := 0
	for _, l := range []*list{&h.open, &h.done} {
		for e := l.first; e != nil; e = e.next {
			n++
			bytes += e.inv.Size()
			if h.byID[e.inv.TaskID] != e || h.slots[e.slot] != e || h.rows.at(e.slot) != e.inv || e.list != l || e.inv.Open() != (l == &h.open) {
				t.Fatal("an entry is misplaced")
			}
		}
	}
	parked := int64(0)
	for _, e := range h.slots {
		if e.parked {
			parked++
		}
	}
	if parked != h.parked {
		t.Fatalf("%d entries have a parked row, counted %d", parked, h.parked)
	}
	if n != len(h.byID) || n != len(h.slots) || n != h.rows.Len() || bytes != h.bytes {
		t.Fatalf("%d entries, %d ids, %d slots; %d bytes, counted %d", n, len(h.byID), len(h.slots), h.bytes, bytes)
	}
}

func TestCapsHold(t *testing.T) {
	c := newClock()
	h := open(t, t.TempDir(), c, Options{MaxRecords: 3})
	replay(t, h, none, nil)
	at := c.now().UnixMicro()
	for i := range 3 {
		add(t, h, event(fmt.Sprint(i), task.StateSuccess, at+int64(i)), Base{})
	}
	if a := add(t, h, event("3", task.StateSuccess, at), Base{}); !a.Full || a.N != 0 {
		t.Fatalf("a fourth record: %+v", a)
	}
	if a := add(t, h, event("1", task.StateFailure, at), Base{}); a.N != 1 {
		t.Fatal("an event of a known id needs no room")
	}
	if _, ok := h.Promise([]*task.Invocation{event("9", task.StateSent, at)}); ok {
		t.Fatal("promised what is not there")
	}
	if got := h.DropOldest(); len(got) != 1 || got[0] != "0" {
		t.Fatalf("dropped %v, want the oldest, at least one", got)
	}
	if gaps := h.Gaps(); len(gaps) != 1 || gaps[0].Count != 1 || gaps[0].Cause != "dropped" {
		t.Fatalf("gaps: %+v", gaps)
	}
	giveBack, ok := h.Promise([]*task.Invocation{event("9", task.StateSent, at)})
	if !ok {
		t.Fatal("there is room for one")
	}
	if a := add(t, h, event("3", task.StateSuccess, at), Base{}); !a.Full {
		t.Fatal("promised room was given away")
	}
	giveBack()
	if a := add(t, h, event("3", task.StateSuccess, at), Base{}); a.N != 1 {
		t.Fatal("room given back is not used")
	}
	checkAccounts(t, h)
}

// Room is promised for ids that the head holds, too: when they leave it before they are
// appended, nobody else gets their place. An id that several requests promise has one.
func TestPromiseOutlivesItsEntries(t *testing.T) {
	c := newClock()
	h := open(t, t.TempDir(), c, Options{MaxRecords: 3})
	replay(t, h, none, nil)
	at := c.now().UnixMicro()
	ev := func(id string) *task.Invocation { return event(id, task.StateSuccess, at) }
	promise := func(want bool, ids ...string) (giveBack func()) {
		t.Helper()
		var invs []*task.Invocation
		for _, id := range ids {
			invs = append(invs, ev(id))
		}
		giveBack, ok := h.Promise(invs)
		if ok != want {
			t.Fatalf("promised to %v: %v", ids, ok)
		}
		return giveBack
	}
	for _, id := range []string{"a", "b", "c"} {
		add(t, h, ev(id), Base{})
	}
	first := promise(true, "a", "b", "a") // all are there
	second := promise(true, "b")
	promise(false, "d")
	for range 3 {
		h.DropOldest()
	}
	third := promise(true, "d") // c's place
	promise(false, "e")
	first()
	fourth := promise(true, "e") // a's place; b's is promised still
	promise(false, "f")
	if a := h.Append([]*task.Invocation{ev("b")}, Encode([]*task.Invocation{ev("b")}), map[string]Base{"b": {}}, h.gen, true); a.N != 1 {
		t.Fatalf("what was promised is not kept: %+v", a)
	}
	promise(false, "f")
	second()
	promise(false, "f")
	third()
	fourth()
	if promise(true, "f", "g")(); h.reserved != 0 || len(h.promised) != 0 {
		t.Errorf("%d reserved, promised %v", h.reserved, h.promised)
	}
	checkAccounts(t, h)
}

func TestDroppedStaysDropped(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	h := open(t, filepath.Join(dir, "a"), c, Options{MaxRecords: 1})
	replay(t, h, none, nil)
	add(t, h, event("x", task.StateSuccess, c.now().UnixMicro()), Base{})
	h.DropOldest()
	if err := h.log.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "b"), os.DirFS(filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	h = open(t, filepath.Join(dir, "b"), c, Options{})
	replay(t, h, none, nil)
	if h.Get("x") != nil {
		t.Fatal("a replay brings back what was dropped")
	}
	if len(h.Gaps()) != 1 {
		t.Fatal("the gap is not replayed")
	}
}

func TestReplayStaysUnderTheCaps(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	h := open(t, filepath.Join(dir, "a"), c, Options{})
	replay(t, h, none, nil)
	for i := range 500 {
		add(t, h, event(fmt.Sprint("id", i), task.StateSuccess, c.now().UnixMicro()+int64(i)), Base{})
	}
	if err := h.log.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "b"), os.DirFS(filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	h = open(t, filepath.Join(dir, "b"), c, Options{MaxRecords: 20})
	cut := 0
	replay(t, h, none, func(context.Context) error {
		if n, _ := h.Size(); n > 20 {
			t.Fatalf("%d records under a cap of 20", n)
		}
		x := h.BeginCut(task.DayOf(c.now().UnixMicro()), h.Ready(true, 1000), false)
		cut += len(x.Candidates)
		h.FinishCut(x, Stored)
		return nil
	})
	if n, _ := h.Size(); cut+int(n) != 500 {
		t.Fatalf("%d cut, %d kept", cut, n)
	}
}

func TestReadyAndGivenUp(t *testing.T) {
	c := newClock()
	h := open(t, t.TempDir(), c, Options{})
	replay(t, h, none, nil)
	now := c.now().UnixMicro()
	add(t, h, event("done", task.StateSuccess, now), Base{})
	add(t, h, event("open", task.StateStarted, now-10*second), Base{})
	old := now - 3*24*3600*second
	add(t, h, event("stuck", task.StateStarted, old), Base{})
	if len(h.Ready(false, 10)) != 0 {
		t.Fatal("not settled yet")
	}
	c.at = c.at.Add(2 * time.Second)
	ready := h.Ready(false, 10)
	if len(ready) != 2 || ready[0].Inv.TaskID != "done" || ready[1].Inv.TaskID != "stuck" {
		t.Fatalf("%d ready", len(ready))
	}
	// Given up two days ago by its last event, but never before today.
	given := ready[1].Inv
	if today := task.DayOf(now).Start(); given.GivenUpAt != today || given.Open() || given.RowTime() != today {
		t.Fatalf("given up at %d", given.GivenUpAt)
	}
	if idle := h.Idle(10); len(idle) != 2 || idle[0].Inv.TaskID != "open" {
		t.Fatal("idle")
	}
}

// A base found before something left the head for a file is not trusted.
func TestStaleBaseIsRefused(t *testing.T) {
	c := newClock()
	h := open(t, t.TempDir(), c, Options{})
	replay(t, h, none, nil)
	at := c.now().UnixMicro()
	add(t, h, event("x", task.StateStarted, at), Base{})
	_, gen := h.Missing([]string{"y"})
	cut := h.BeginCut(0, h.Idle(1), true)
	h.FinishCut(cut, Stored)
	v := event("x", task.StateSuccess, at+1)
	a := h.Append([]*task.Invocation{v}, Encode([]*task.Invocation{v}), map[string]Base{"x": {}}, gen, false)
	if a.N != 0 || !a.Unresolved {
		t.Fatalf("%+v", a)
	}
}

// capturedRecords are those of a segment that a daemon wrote for events of a
// real Celery.
func capturedRecords(t testing.TB) (out [][]byte) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "00000001"), unzipped(t, "wal", "testdata", "00000001.gz"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := wal.Open(dir, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replay(context.Background(), func(rec []byte) error {
		out = append(out, bytes.Clone(rec))
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(appendEvent(nil, event("x", task.StateSuccess, 5)))
	captured, n := capturedRecords(f), 0
	for _, b := range captured {
		if rec, err := decodeRecord(b); err != nil {
			f.Errorf("a captured record: %v", err)
		} else if rec.kind == kindEvent {
			n++
		}
		f.Add(b)
	}
	if n < 60 {
		f.Errorf("%d events are captured", n)
	}
	f.Add(encodeCut(7, 20_000, []string{"22c5a64c-6072-4dac-8c85-17988df61611", "text"}))
	f.Add(encodeDrop([]string{"a", "b"}))
	f.Add(encodeGap(task.Gap{Source: "head", Cause: "dropped", From: 1, To: 2, Count: 3}))
	f.Add(encodeState(9, -1, never))
	f.Add(encodeState(9, 20_000, 19_999))
	f.Add(binary.AppendVarint([]byte("s\x09\x00"), 2_874_586_368)) // a day that an int32 does not hold
	for _, rec := range blocksOf(f, 3, leastBlock/3) {
		f.Add(rec)
		f.Add(rec[:len(rec)-1])
	}
	f.Add(append([]byte{kindBlock, 1, 0xff, 0xff, 0x3f}, s2.Encode(nil, make([]byte, 1<<20-1))...))
	f.Add([]byte{kindBlock, 1, 0xff, 0xff, 0x3f, 0xff, 0xff, 0x3f}) // claims a lot
	f.Fuzz(func(t *testing.T, b []byte) {
		var u unpacker
		var plain []byte
		err := u.each(b, func(rec []byte) error {
			plain = append(plain, rec...)
			return nil
		})
		if cap(u.buf) > maxBlock || len(plain) > max(maxBlock, len(b)) || err != nil && len(plain) > 0 {
			t.Fatalf("a buffer of %d bytes, records of %d: %v", cap(u.buf), len(plain), err)
		}
		rec, err := decodeRecord(b)
		if err != nil {
			return
		}
		var encoded []byte
		switch rec.kind {
		case kindEvent:
			encoded = appendEvent(nil, &rec.inv)
		case kindCut:
			encoded = encodeCut(rec.cut, rec.day, rec.ids)
		case kindDrop:
			encoded = encodeDrop(rec.ids)
		case kindGap:
			encoded = encodeGap(rec.gap)
		case kindState:
			encoded = encodeState(rec.cut, rec.day, rec.gone)
		}
		again, err := decodeRecord(encoded)
		if again.bytes = rec.bytes; err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", rec) {
			t.Fatalf("a record does not come back: %v\n%+v\n%+v", err, rec, again)
		}
	})
}
