package wal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestReadWhileFilesGo removes files between the listing and the opening.
func TestReadWhileFilesGo(t *testing.T) {
	m, fsys := newModel(), newMemFS()
	l, _, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		_ = m.append(l, 3)
	}
	opened, checkpoints := 0, 0
	view := &memFS{} // the reader's: same files, own hook
	view.live, view.durable, view.count = fsys.live, fsys.durable, map[string]int{}
	view.hook = func(op, path string) {
		if op == "open" {
			if opened++; opened%5 == 4 && checkpoints < 4 {
				checkpoints++
				_ = m.append(l, 1)
				_ = m.checkpoint(l)
			}
		}
	}
	resets := 0
	var got []string
	st, err := read(view, testDir, func() { resets++; got = nil }, func(b []byte) error {
		got = append(got, string(b))
		return nil
	})
	if err != nil || resets == 0 || len(st.Corruptions) > 0 {
		t.Fatal(err, resets, st.Corruptions)
	}
	m.note(l.Close())
	m.memory = dedupe(got)
	m.check(t)
	if len(m.errs) > 0 {
		t.Fatal(m.errs)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), nil, discard); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if _, err := read(fsys, testDir, nil, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
}
