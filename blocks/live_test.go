package blocks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"daybook/tsdb/task"
)

// requireModel compares all that a live file tells with the model.
func requireModel(t *testing.T, l *Live, m *model, ids []string) {
	t.Helper()
	ctx := context.Background()
	if l.Rows() != int64(len(m.rows)) || l.Masks() != int64(len(m.mask)) || l.LastCut() != m.cut || !l.Knows(m.cut) || l.Knows(m.cut+1) {
		t.Fatalf("%d rows, %d masks, cut %d; want %d, %d, %d", l.Rows(), l.Masks(), l.LastCut(), len(m.rows), len(m.mask), m.cut)
	}
	for _, id := range ids {
		want, there := m.rows[id]
		got, ok, err := l.Find(ctx, id)
		if err != nil || ok != there || there && !sameRow(got, want) {
			t.Fatalf("%s: %v %v\n%+v\nwant %v\n%+v", id, ok, err, got, there, want)
		}
		h := task.HashID(id)
		if there && !l.MayContain(h) {
			t.Fatalf("%s is there, and the filter says it is not", id)
		}
		if mask := l.Masked(); mask.Has(h, id) != m.mask[id] {
			t.Fatalf("%s: masked %v, want %v", id, mask.Has(h, id), m.mask[id])
		}
	}
	rows := m.sorted()
	oldest, newest := l.Bounds()
	if len(rows) > 0 && (oldest != rows[0].RowTime() || newest != rows[len(rows)-1].RowTime()) || len(rows) == 0 && oldest+newest != 0 {
		t.Fatalf("bounds %d to %d", oldest, newest)
	}
	var masked []string
	l.Masked().Each(func(id string) bool { masked = append(masked, id); return true })
	slices.Sort(masked)
	if want := slices.Sorted(maps.Keys(m.mask)); !slices.Equal(masked, want) {
		t.Fatalf("mask %v, want %v", masked, want)
	}
}

func TestLiveAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 9))
			ids := append(slices.Clone(crowdedIDs()), "0b7fd1c4-9d9b-4a53-8e5c-2f4f5a6b7c8d", "0B7FD1C4-9D9B-4A53-8E5C-2F4F5A6B7C8D", "sixteen bytes id", "nul\x00id")
			dir := liveDir(t)
			l := createLive(t, dir, 1)
			m := &model{rows: map[string]task.Invocation{}, mask: map[string]bool{}}
			for range 30 {
				b := m.batch(r, ids)
				if err := l.Apply(context.Background(), b); err != nil {
					t.Fatal(err)
				}
				if err := l.Apply(context.Background(), b); err != nil { // known: nothing happens
					t.Fatal(err)
				}
				switch r.IntN(6) {
				case 0:
					copied := crashed(t, dir)
					closeAll(t, l)
					dir = copied
				case 1:
					if err := l.Checkpoint(context.Background()); err != nil {
						t.Fatal(err)
					}
					fallthrough
				case 2:
					closeAll(t, l)
				default:
					requireModel(t, l, m, ids)
					continue
				}
				var err error
				if l, err = OpenLive(filepath.Join(dir, liveName(testDay, 1))); err != nil {
					t.Fatal(err)
				}
				requireModel(t, l, m, ids)
			}
			requireSound(t, l.Path())
			s := seal(t, t.TempDir(), SealInput{Generation: 1, Live: l})
			requireRows(t, readRows(t, s.Path(), modeImmutable, testDay), m.sorted())
			closeAll(t, l, s)
			requireSound(t, l.Path())
		})
	}
}

func TestRowsOfOneMicrosecond(t *testing.T) {
	t.Parallel()
	l := createLive(t, liveDir(t), 1)
	defer closeAll(t, l)
	at := testDay.Start() + 5
	want := map[string]task.Invocation{}
	for cut := range uint64(3) {
		b := Batch{Cut: cut + 1}
		for i := range 10_000 {
			e := task.Event{TaskID: fmt.Sprintf("id-%d-%d", cut, i), At: at, State: task.StateSuccess, Retries: -1}
			v := e.Invocation()
			want[v.TaskID] = v
			b.Put = append(b.Put, Put{Inv: &v})
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	requireSound(t, l.Path())
	s := seal(t, t.TempDir(), SealInput{Generation: 1, Live: l})
	defer closeAll(t, s)
	m := &model{rows: want}
	requireRows(t, readRows(t, s.Path(), modeImmutable, testDay), m.sorted())
}

func TestApplyRefusesWhatIsNotACut(t *testing.T) {
	t.Parallel()
	l := createLive(t, liveDir(t), 1)
	defer closeAll(t, l)
	in := anyRow(rand.New(rand.NewPCG(1, 1)), "a")
	out := outside()
	for name, b := range map[string]Batch{
		"no cut id":      {Put: []Put{{Inv: &in}}},
		"a huge cut id":  {Cut: 1 << 63},
		"another day":    {Cut: 1, Put: []Put{{Inv: &out}}},
		"no state":       {Cut: 1, Put: []Put{{Inv: &task.Invocation{TaskID: "c"}}}},
		"no task_id":     {Cut: 1, Put: []Put{{Inv: &task.Invocation{}}}},
		"one row twice":  {Cut: 1, Put: []Put{{Inv: &in}, {Inv: &in}}},
		"one row of two": {Cut: 1, Put: []Put{{Inv: &in}, {Inv: &out}}},
	} {
		if err := l.Apply(context.Background(), b); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if l.Rows() != 0 || l.LastCut() != 0 {
		t.Errorf("%d rows, cut %d after refused batches", l.Rows(), l.LastCut())
	}
	requireSound(t, l.Path())
}

// TestApplyOnAFullDisk has SQLite run out of pages at every size, as a full
// disk has it.
func TestApplyOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := liveDir(t)
	l := createLive(t, dir, 1)
	g := newLoad(5, testDay, 100_000)
	m := &model{rows: map[string]task.Invocation{}, mask: map[string]bool{}}
	limit := func(pages int) {
		w := <-l.writer
		defer func() { l.writer <- w }()
		if err := w.c.script(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for round := range 15 {
		m.cut++
		b := g.batch(m.cut, 300)
		b.Put[0].Inv.TaskName = fmt.Sprintf("new-%d", round) // dictionaries roll back, too
		failed := 0
		for pages := int(l.Bytes() / livePageBytes); ; pages += 3 {
			limit(pages)
			err := l.Apply(context.Background(), b)
			if err == nil {
				break
			}
			if failed++; !strings.Contains(err.Error(), "full") || failed > 10_000 {
				t.Fatal(err)
			}
			if l.Knows(m.cut) || l.Rows() != int64(len(m.rows)) {
				t.Fatal("a failed cut left something behind")
			}
		}
		for _, p := range b.Put {
			m.rows[p.Inv.TaskID] = *p.Inv
			ids = append(ids, p.Inv.TaskID)
		}
		limit(1 << 30)
	}
	requireModel(t, l, m, ids)
	requireSound(t, l.Path())
	closeAll(t, l)
}

// TestFindDuringApply looks ids up while rows are replaced and runs merged: a
// row that is always there must always be found.
func TestFindDuringApply(t *testing.T) {
	t.Parallel()
	l := createLive(t, liveDir(t), 1)
	defer closeAll(t, l)
	g := newLoad(6, testDay, 100_000)
	first := g.batch(1, 200)
	if err := l.Apply(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 3))
			for {
				select {
				case <-stop:
					return
				default:
				}
				id := first.Put[r.IntN(200)].Inv.TaskID
				if _, ok, err := l.Find(context.Background(), id); !ok || err != nil {
					t.Errorf("%s: %v %v", id, ok, err)
					return
				}
			}
		})
	}
	for cut := uint64(2); cut < 120; cut++ {
		b := Batch{Cut: cut}
		for i, p := range first.Put {
			v := *p.Inv
			v.Outcome.Result = fmt.Sprint(cut)
			if i%3 == int(cut)%3 {
				b.Put = append(b.Put, Put{Inv: &v, Replace: true})
			}
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	requireSound(t, l.Path())
}

func TestLiveNamesAndPaths(t *testing.T) {
	t.Parallel()
	dir := liveDir(t)
	l := createLive(t, dir, 7)
	if l.Name() != "2026-11-23.7.db" || l.Seq() != 7 || l.Day() != testDay || !l.Empty() {
		t.Errorf("%s %d %s", l.Name(), l.Seq(), l.Day())
	}
	if _, err := CreateLive(dir, testDay, 7); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second file of the name: %v", err)
	}
	closeAll(t, l, l)
	if err := l.Apply(context.Background(), Batch{Cut: 1}); !errors.Is(err, ErrFileClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Path()+"-wal", []byte("stale"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateLive(dir, testDay, 7); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a stale WAL beside a new file: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left over: %v %v", entries, err)
	}
}

// outside is a row of the day after.
func outside() task.Invocation {
	e := task.Event{TaskID: "b", At: testDay.End(), State: task.StateSuccess, Retries: task.RetriesUnknown}
	return e.Invocation()
}
