package wal

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// scenario is a daemon's life: start on what is there, work, stop. A start that fails is tried
// again, once, as a supervisor would.
func scenario(m *model, fsys FS, o Options) {
	l, _, err := m.open(fsys, o)
	if err != nil {
		if l, _, err = m.open(fsys, o); err != nil {
			return
		}
	}
	m.work(l, 22)
	m.note(l.Close())
}

// seeded returns a file system with a log in it that ends torn, and a model that knows it.
func seeded(t *testing.T) (*memFS, *model) {
	t.Helper()
	m, fsys := newModel(), newMemFS()
	l, _, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.work(l, 14)
	if err := l.Close(); err != nil || len(m.errs) > 0 {
		t.Fatal(err, m.errs)
	}
	last := fsys.names()[len(fsys.names())-2] // before checkpoint.*
	fsys.live[last].data = append(fsys.live[last].data, 0, 0, 0xDB, 'r', 'e')
	fsys.live[testDir+"/00000099.tmp"] = &memFile{}
	return fsys, m
}

func (m *model) clone() *model {
	c := newModel()
	c.order, c.acked = maps.Clone(m.order), maps.Clone(m.acked)
	return c
}

// TestFailEveryOperation fails operation i, in every way, for every i: it must surface, and when
// the fault has gone nothing acknowledged may be lost and the log must work.
func TestFailEveryOperation(t *testing.T) {
	start, known := seeded(t)
	for _, policy := range []SyncPolicy{SyncAlways, SyncInterval, SyncNever} {
		for _, how := range []fault{failBefore, failAfter, failHalf} {
			fired := map[string]int{}
			for i := 1; ; i++ {
				fsys, m := start.after(crashKill), known.clone()
				fsys.fault, fsys.failAt = how, i
				scenario(m, fsys, Options{Sync: policy})
				if fsys.fired == "" {
					break
				}
				fired[fsys.fired]++
				name := fmt.Sprintf("%s, %s %d: %s", policy, fsys.fired, i, faultNames[how])
				if len(m.errs) == 0 && fsys.fired != "size" {
					t.Fatalf("%s: nobody was told", name)
				}
				for _, err := range m.errs {
					if !errors.Is(err, syscall.EIO) {
						t.Fatalf("%s: %v", name, err)
					}
				}
				for c := range crashes {
					if policy != SyncAlways && c != crashKill {
						continue // not promised
					}
					m2 := m.clone()
					left := fsys.after(c)
					if !t.Run(fmt.Sprintf("%s/%s/%d-%s/%d", policy, faultNames[how], i, fsys.fired, c), func(t *testing.T) {
						if st := m2.reopen(t, left); policy == SyncAlways && len(st.Corruptions) > 0 {
							t.Fatalf("%v\n%s", st.Corruptions, left)
						}
					}) {
						return
					}
				}
			}
			for _, op := range []string{"open", "read", "create", "write", "sync", "rename", "remove", "syncdir", "truncate", "readdir"} {
				if fired[op] == 0 {
					t.Errorf("%s, %s: no %s was failed", policy, faultNames[how], op)
				}
			}
		}
	}
}

// TestCrashAtEveryOperation kills the process at operation i, for every i, and looks at all states
// the disk may be in.
func TestCrashAtEveryOperation(t *testing.T) {
	start, known := seeded(t)
	for i := 1; ; i++ {
		fsys, m := start.after(crashKill), known.clone()
		fsys.fault, fsys.failAt = failForGood, i
		scenario(m, fsys, Options{})
		if fsys.fired == "" {
			break
		}
		for c := range crashes {
			m2, left := m.clone(), fsys.after(c)
			if !t.Run(fmt.Sprintf("%d-%s/%d", i, fsys.fired, c), func(t *testing.T) {
				if st := m2.reopen(t, left); len(st.Corruptions) > 0 {
					t.Fatal(st.Corruptions)
				}
			}) {
				return
			}
		}
	}
}

// TestFullDisk: the cause is visible, nothing piles up, and the log goes on when there is space.
func TestFullDisk(t *testing.T) {
	for _, op := range []string{"write", "sync", "create", "rename", "syncdir", "truncate"} {
		t.Run(op, func(t *testing.T) {
			m, fsys := newModel(), newMemFS()
			fsys.err = syscall.ENOSPC
			l, _, err := m.open(fsys, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := m.append(l, 2); err != nil {
					t.Fatal(err)
				}
			}
			before := len(fsys.live)
			fsys.always = op
			var failures int
			for range 50 {
				if err := m.append(l, 4); errors.Is(err, syscall.ENOSPC) {
					failures++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if want := op != "truncate"; (failures > 0) != want || l.NeedsCheckpoint() != want {
				t.Fatalf("%d failures, needs a checkpoint: %v", failures, l.NeedsCheckpoint())
			}
			if op != "truncate" && len(fsys.live) > before+2 {
				t.Fatalf("%d files have piled up: %s", len(fsys.live)-before, fsys)
			}
			fsys.always = ""
			if err := m.append(l, 1); err != nil {
				t.Fatal(err)
			}
			if got := l.PendingBytes(); got != 0 {
				t.Fatalf("%d bytes pending", got)
			}
			if err := m.checkpoint(l); err != nil {
				t.Fatal(err)
			}
			if l.NeedsCheckpoint() {
				t.Fatal("still needs a checkpoint")
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			m.reopen(t, fsys)
		})
	}
}

// TestOSFS runs the scenario where a kernel answers.
func TestOSFS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "wal")
	if err := os.Mkdir(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	m := newModel()
	for range 3 {
		scenario(m, moved{dir}, Options{})
		if len(m.errs) > 0 {
			t.Fatal(m.errs)
		}
	}
	l, _, err := m.open(moved{dir}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.check(t)
	if l.Segments() == 0 || l.Bytes() != dirBytes(t, dir) {
		t.Fatalf("%d segments, %d bytes, the directory has %d", l.Segments(), l.Bytes(), dirBytes(t, dir))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func dirBytes(t *testing.T, dir string) (n int64) {
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range names {
		fi, err := d.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += fi.Size()
	}
	return n
}
