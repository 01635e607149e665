package blocks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// TestResealAgainstModel seals a day, and folds overlays into it again and again.
func TestResealAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			ids := append(slices.Clone(crowdedIDs()), "0b7fd1c4-9d9b-4a53-8e5c-2f4f5a6b7c8d", "plain")
			dir, days := liveDir(t), t.TempDir()
			day := map[string]task.Invocation{} // what the day as a whole should say
			moved := map[Moved]uint64{}         // the cut, by id and day
			absorbed := map[string]uint64{}
			var cuts []uint64
			var s *Sealed
			cut := uint64(0)
			for generation := 1; generation <= 4; generation++ {
				l := createLive(t, dir, generation)
				m := &model{rows: map[string]task.Invocation{}, mask: map[string]bool{}, cut: cut}
				for range 6 {
					b := m.batch(r, ids)
					if s != nil { // what is put here hides the sealed row; most callers say so
						for _, p := range b.Put {
							if r.IntN(2) == 0 {
								b.Mask = append(b.Mask, p.Inv.TaskID)
								m.mask[p.Inv.TaskID] = true
							}
						}
					}
					if err := l.Apply(context.Background(), b); err != nil {
						t.Fatal(err)
					}
					cuts = append(cuts, b.Cut)
					for _, x := range b.Moved {
						moved[x] = max(moved[x], b.Cut)
					}
				}
				cut = m.cut
				gone := ids[r.IntN(len(ids))] // superseded in another day
				for id := range day {
					if m.mask[id] || id == gone {
						delete(day, id)
					}
				}
				for id, v := range m.rows {
					day[id] = v
				}
				old := s
				s = seal(t, days, SealInput{Generation: generation, Live: l, Sealed: old, MaskedBy: func(id string) bool { return id == gone }})
				want := (&model{rows: day}).sorted()
				requireRows(t, readRows(t, s.Path(), modeImmutable, testDay), want)
				absorbed[l.Name()] = cut
				if old != nil {
					absorbed[old.Name()] = 0
				}
				if fmt.Sprint(s.Absorbed()) != fmt.Sprint(absorbed) || !s.Covers(l) || s.Generation() != generation || s.Rows() != int64(len(day)) {
					t.Fatalf("absorbed %v, want %v; covers %v", s.Absorbed(), absorbed, s.Covers(l))
				}
				for _, c := range cuts {
					if !s.KnowsCut(c) {
						t.Fatalf("cut %d is forgotten", c)
					}
				}
				if s.KnowsCut(cut + 1) {
					t.Fatal("a cut is known that never was")
				}
				for _, x := range s.Moved() {
					if moved[Moved{ID: x.ID, From: x.From}] != x.Cut {
						t.Fatalf("moved %v", x)
					}
				}
				for m := range moved { // a mark goes with the row that it stands for
					if _, there := day[m.ID]; !there {
						delete(moved, m)
					}
				}
				if len(s.Moved()) != len(moved) {
					t.Fatalf("%d moved, want %d", len(s.Moved()), len(moved))
				}
				requireFilter(t, s, day)
				if err := l.Apply(context.Background(), Batch{Cut: cut + 1, Delete: []string{"x"}}); err != nil {
					t.Fatal(err)
				}
				if cut++; s.Covers(l) {
					t.Fatal("a later cut is covered")
				}
				s = reopen(t, s)
				closeAll(t, l)
			}
			closeAll(t, s)
		})
	}
}

func reopen(t *testing.T, s *Sealed) *Sealed {
	t.Helper()
	closeAll(t, s)
	s, err := OpenSealed(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// requireFilter asks for every id, resident and through SQL.
func requireFilter(t *testing.T, s *Sealed, rows map[string]task.Invocation) {
	t.Helper()
	if _, known := s.MayContain(1); known {
		t.Fatal("the filter is resident from the start")
	}
	c, err := openMemory()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.exec("ATTACH ? AS d1", fileURI(s.Path(), modeImmutable)); err != nil {
		t.Fatal(err)
	}
	if err := s.LoadFilter(); err != nil {
		t.Fatal(err)
	}
	for id := range rows {
		h := task.HashID(id)
		maybe, known := s.MayContain(h)
		stored, err := probeFilter(context.Background(), c, "d1", s.FilterBlocks(), h)
		if !maybe || !known || !stored || err != nil {
			t.Fatalf("%s: resident %v %v, stored %v %v", id, maybe, known, stored, err)
		}
	}
	s.DropFilter()
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

func TestSealNothing(t *testing.T) {
	t.Parallel()
	l := createLive(t, liveDir(t), 1)
	defer closeAll(t, l)
	s := seal(t, t.TempDir(), SealInput{Generation: 1, Live: l})
	defer closeAll(t, s)
	if oldest, newest := s.Bounds(); s.Rows() != 0 || oldest+newest != 0 {
		t.Errorf("%d rows", s.Rows())
	}
}

// TestSealIsAbandoned ends a build at every step that looks at its context.
func TestSealIsAbandoned(t *testing.T) {
	t.Parallel()
	l := createLive(t, liveDir(t), 1)
	defer closeAll(t, l)
	if err := l.Apply(context.Background(), newLoad(1, testDay, 1000).batch(1, 1000)); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	for n := 0; ; n++ {
		_, _, err := BuildSealed(&countdown{Context: context.Background(), left: n}, tmp, SealInput{Day: testDay, Generation: 1, Live: l})
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(tmp); err != nil || len(entries) > 0 {
			t.Fatalf("left behind: %v %v", entries, err)
		}
		n += n / 4
	}
}

// countdown is a context that ends after it was asked so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestPublishStepByStep stops after every step that publishing makes.
func TestPublishStepByStep(t *testing.T) {
	t.Parallel()
	l := createLive(t, liveDir(t), 1)
	defer closeAll(t, l)
	if err := l.Apply(context.Background(), newLoad(1, testDay, 100).batch(1, 100)); err != nil {
		t.Fatal(err)
	}
	tmpDir, days := t.TempDir(), t.TempDir()
	build := func() string {
		tmp, _, err := BuildSealed(context.Background(), tmpDir, SealInput{Day: testDay, Generation: 1, Live: l})
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(tmp); err != nil || fi.Mode().Perm() != 0o444 {
			t.Fatalf("%v %v", fi.Mode(), err)
		}
		return tmp
	}
	path := filepath.Join(days, "2026-11-23.db")
	// Linked, but not yet unlinked: the file is there and whole.
	tmp := build()
	if err := os.Link(tmp, path); err != nil {
		t.Fatal(err)
	}
	requireSound(t, path)
	// Doing it again does not replace it.
	if _, err := PublishSealed(tmp, days, testDay, 1); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("published over a file: %v", err)
	}
	// Without its checksum it is a note, and the checksum can be made up for.
	findings, err := CheckFile(context.Background(), path, false)
	if err != nil || len(findings) != 1 || !findings[0].Note {
		t.Fatalf("%+v %v", findings, err)
	}
	if err := WriteChecksum(path, tmpDir); err != nil {
		t.Fatal(err)
	}
	if findings, err := CheckFile(context.Background(), path, true); err != nil || len(findings) != 0 {
		t.Fatalf("%+v %v", findings, err)
	}
	if out, err := exec.Command("sh", "-c", "cd "+days+" && sha256sum -c *.sha256").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 2 {
		if err := RemoveSealed(path); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(days); err != nil || len(entries) > 0 {
		t.Fatalf("left behind: %v %v", entries, err)
	}
}

// TestViewInSQLite3 reads a sealed file as people do.
func TestViewInSQLite3(t *testing.T) {
	t.Parallel()
	cli, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("needs sqlite3, which is not installed")
	}
	l := createLive(t, liveDir(t), 1)
	v, err := task.ParseJSON([]byte(`{"task_id":"0b7fd1c4-9d9b-4a53-8e5c-2f4f5a6b7c8d","task_name":"shop.mail","state":"FAILURE",` +
		`"sent_at":"2026-11-23T09:00:00.5Z","started_at":"2026-11-23T09:00:01Z","finished_at":"2026-11-23T09:00:02.000001Z","runtime_ms":1000.001,` +
		`"worker":"celery@mail-68c44cbdf6-2668h","queue":"mail","exception_type":"KeyError","root_id":"a","retries":2}`))
	if err != nil {
		t.Fatal(err)
	}
	batch := newLoad(1, testDay, 100).batch(1, 10)
	given, err := task.ParseJSON([]byte(`{"task_id":"given-up","task_name":"shop.mail","state":"STARTED","started_at":"2026-11-22T09:00:00Z","worker":"celery@w"}`))
	if err != nil {
		t.Fatal(err)
	}
	given.GivenUpAt = v.FinishedAt + 1_000_000
	batch.Put = append(batch.Put, Put{Inv: &v}, Put{Inv: &given})
	if err := l.Apply(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	s := seal(t, t.TempDir(), SealInput{Generation: 1, Live: l, Version: "0.1"})
	closeAll(t, l, s)
	out, err := exec.Command(cli, "-readonly", s.Path(), "SELECT * FROM invocations WHERE task_name = 'shop.mail'", "SELECT count(*) FROM invocations", "SELECT value FROM meta WHERE key = 'sealed_by'").CombinedOutput()
	want := "0b7fd1c4-9d9b-4a53-8e5c-2f4f5a6b7c8d|shop.mail|FAILURE|2026-11-23T09:00:00.500000Z||2026-11-23T09:00:01.000000Z|2026-11-23T09:00:02.000001Z|2026-11-23T09:00:02.000001Z|1000.001|celery@mail-68c44cbdf6-2668h|mail|mail|KeyError|2|||a||0\n" +
		"given-up|shop.mail|STARTED|||2026-11-22T09:00:00.000000Z||2026-11-23T09:00:03.000001Z||celery@w|w|||0|||||1\n12\na test\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
	if entries, err := os.ReadDir(filepath.Dir(s.Path())); err != nil || len(entries) != 2 {
		t.Errorf("the CLI left something: %v %v", entries, err)
	}
}
