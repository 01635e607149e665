package wal

import (
	"fmt"
	"strings"
	"testing"
)

// TestFailThenCrash fails operation i and kills the process a few operations later, before the
// log had an opportunity to tidy up.
func TestFailThenCrash(t *testing.T) {
	start, known := seeded(t)
	for _, how := range []fault{failAfter, failHalf} {
		for i := 12; ; i++ { // 12: past the start
			var over bool
			for later := 1; later <= 12; later++ {
				fsys, m := start.after(crashKill), known.clone()
				fsys.fault, fsys.failAt, fsys.killAt = how, i, i+later
				scenario(m, fsys, Options{})
				if over = fsys.fired == ""; over || !strings.Contains("write sync rename syncdir", fsys.fired) {
					break
				}
				for _, c := range []crash{crashKill, crashLost} {
					m2, left := m.clone(), fsys.after(c)
					if !t.Run(fmt.Sprintf("%s/%d-%s+%d/%d", faultNames[how], i, fsys.fired, later, c), func(t *testing.T) {
						if st := m2.reopen(t, left); len(st.Corruptions) > 0 {
							t.Fatal(st.Corruptions)
						}
					}) {
						return
					}
				}
			}
			if over {
				break
			}
		}
	}
}

// TestRefusedBatchStaysAway: what was refused and is on the disk in full does not come back once
// later records were acknowledged.
func TestRefusedBatchStaysAway(t *testing.T) {
	for _, before := range []int{2, 0} { // records in the segment before it
		m, fsys := newModel(), newMemFS()
		l, _, err := m.open(fsys, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if before > 0 {
			if err := m.append(l, before); err != nil {
				t.Fatal(err)
			}
		} else {
			if err := m.checkpoint(l); err != nil {
				t.Fatal(err)
			}
		}
		fsys.always = "sync"
		if err := m.append(l, 2); err == nil {
			t.Fatal("a failed fsync was not noticed")
		}
		fsys.always = "remove"
		if err := m.append(l, 1); err != nil {
			t.Fatal(err)
		}
		l, st, err := m.open(fsys.after(crashKill), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if m.check(t); len(m.memory) != before+1 || st.AbandonedBytes == 0 || len(st.Corruptions) > 0 {
			t.Fatalf("%q %+v", m.memory, st)
		}
		l.Close()
	}
}

// TestLaxPolicies: without an fsync per batch only the last segment can be torn, also when a
// segment is given up.
func TestLaxPolicies(t *testing.T) {
	for _, policy := range []SyncPolicy{SyncInterval, SyncNever} {
		for c := range crashes {
			m, fsys := newModel(), newMemFS()
			l, _, err := m.open(fsys, Options{Sync: policy})
			if err != nil {
				t.Fatal(err)
			}
			for range 8 {
				_ = m.append(l, 3)
			}
			m2 := m.clone()
			m2.acked = map[string]bool{}
			if st := m2.reopen(t, fsys.after(c)); len(st.Corruptions) > 0 || st.Segments < 3 {
				t.Fatalf("%d: %+v", c, st)
			}
			fsys.always = "write truncate"
			_ = m.append(l, 1)
			m2 = m.clone()
			m2.reopen(t, fsys.after(c)) // the segment given up is durable
			fsys.always = ""
			if err := m.append(l, 1); err != nil {
				t.Fatal(err)
			}
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			if st := m.reopen(t, fsys.after(c)); len(st.Corruptions) > 0 {
				t.Fatalf("%d: %+v", c, st)
			}
			l.Close()
		}
	}
}

// TestCheckpointNameIsNotReused: a checkpoint whose name may or may not be on the disk is never
// replaced by another of that name.
func TestCheckpointNameIsNotReused(t *testing.T) {
	m, fsys := newModel(), newMemFS()
	l, _, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.append(l, 1); err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	fsys.hook = func(op, path string) {
		if op == "rename" && strings.Contains(path, checkpointPrefix) {
			names[path]++
			fsys.always = "syncdir"
		}
	}
	if err := m.checkpoint(l); err == nil {
		t.Fatal("nobody was told")
	}
	fsys.always = ""
	fsys.hook = func(op, path string) {
		if op == "rename" && strings.Contains(path, checkpointPrefix) {
			names[path]++
		}
	}
	if err := m.checkpoint(l); err != nil {
		t.Fatal(err)
	}
	if len(names) != 2 {
		t.Fatal(names)
	}
	l.Close()
	m.reopen(t, fsys)
}
