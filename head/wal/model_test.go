package wal

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

const testDir = "wal"

// model is what the caller of a log knows: the order, and what was acknowledged.
type model struct {
	order  map[string]int
	acked  map[string]bool
	memory []string // what a head would hold; it checkpoints this
	errs   []error  // all that the log has told, in any way
}

func newModel() *model { return &model{order: map[string]int{}, acked: map[string]bool{}} }

func (m *model) note(err error) {
	if err != nil {
		m.errs = append(m.errs, err)
	}
}

func (m *model) append(l *Log, n int) error {
	recs := make([][]byte, n)
	for i := range recs {
		id := len(m.order)
		// Of all lengths, down to 4 bytes, and with frame magic in some.
		s := fmt.Sprintf("%04d", id) + strings.Repeat(string(frameMagic[:])+"x", id%13)
		recs[i] = []byte(s)
		m.order[s] = id
		m.memory = append(m.memory, s)
	}
	t := l.Enqueue(recs...)
	for i := range recs {
		clear(recs[i][:2]) // Enqueue copies
	}
	err := l.Wait(t)
	if err == nil {
		for _, s := range m.memory[len(m.memory)-n:] {
			m.acked[s] = true
		}
	}
	m.note(err)
	return err
}

func (m *model) checkpoint(l *Log) error {
	err := l.Checkpoint(func(emit func([]byte) error) error {
		for _, s := range m.memory {
			if err := emit([]byte(s)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil { // what the checkpoint holds is durable, whatever became of its batch
		for _, s := range m.memory {
			m.acked[s] = true
		}
	}
	m.note(err)
	return err
}

// open opens and replays; the memory becomes what the log has.
func (m *model) open(fsys FS, o Options) (*Log, ReplayStats, error) {
	o.FS, o.OnError = fsys, m.note
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 400
	}
	l, err := Open(testDir, o)
	if err != nil {
		m.note(err)
		return nil, ReplayStats{}, err
	}
	var got []string
	st, err := l.Replay(context.Background(), func(rec []byte) error {
		got = append(got, string(rec))
		return nil
	}, nil)
	if err != nil {
		m.note(err)
		l.Close()
		return nil, st, err
	}
	m.memory = dedupe(got)
	return l, st, nil
}

func dedupe(in []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range in {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

// check compares what a replay has given with what was promised.
func (m *model) check(t *testing.T) {
	t.Helper()
	last := -1
	got := map[string]bool{}
	for _, s := range m.memory {
		id, ok := m.order[s]
		switch {
		case !ok:
			t.Fatalf("record %q was invented", s)
		case id <= last:
			t.Fatalf("record %d comes after %d", id, last)
		}
		last, got[s] = id, true
	}
	for s := range m.acked {
		if !got[s] {
			t.Fatalf("record %q was acknowledged and is lost", s)
		}
	}
}

// work appends, rotates and checkpoints, and goes on after errors like a daemon does.
func (m *model) work(l *Log, rounds int) {
	for i := range rounds {
		_ = m.append(l, 1+i%4)
		if i%9 == 8 || l.NeedsCheckpoint() && i%3 == 2 {
			_ = m.checkpoint(l)
		}
	}
}

// reopen checks that a log is whole and that it can be written.
func (m *model) reopen(t *testing.T, fsys FS) ReplayStats {
	t.Helper()
	l, st, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.check(t)
	if err := m.append(l, 3); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, _, err = m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.check(t)
	if err := m.checkpoint(l); err != nil {
		t.Fatal(err)
	}
	if err := m.append(l, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, st2, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.check(t)
	if len(st2.Corruptions) > 0 || st2.TornBytes > 0 {
		t.Fatalf("after a checkpoint: %v, %d bytes torn", st2.Corruptions, st2.TornBytes)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return st
}
