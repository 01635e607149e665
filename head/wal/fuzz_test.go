package wal

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// capturedSegment is what a daemon wrote for events of a real Celery, in 16
// requests.
func capturedSegment(t testing.TB) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", "00000001.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzReplay takes any bytes for a segment and for a checkpoint: never a panic, the same records
// again after the repair, and a log that can be written.
func FuzzReplay(f *testing.F) {
	fsys := newMemFS()
	l := started(f, testDir, Options{FS: fsys})
	if err := l.Wait(l.Enqueue([]byte("one"), []byte("two"), nil, bytes.Repeat([]byte("3"), 300))); err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	valid := fsys.live[fsys.names()[0]].data
	holed := bytes.Clone(valid)
	clear(holed[headerSize+3 : headerSize+30])
	headless := bytes.Clone(valid)
	clear(headless[:headerSize])
	for _, seed := range [][]byte{nil, valid, valid[:len(valid)-7], holed, headless,
		append(bytes.Clone(valid), make([]byte, 64)...), headerOfVersion(segmentMagic, 9)} {
		f.Add(seed, true)
		f.Add(append(bytes.Clone(checkpointMagic[:]), seed[min(8, len(seed)):]...), false)
	}
	captured := capturedSegment(f)
	for _, end := range []int{len(captured), len(captured) - 5, 8 << 10} {
		f.Add(captured[:end], true)
	}
	f.Add(captured, false)
	f.Fuzz(func(t *testing.T, b []byte, last bool) {
		if len(b) > 1<<16 {
			return
		}
		fsys := newMemFS()
		for _, n := range []string{"00000003", "checkpoint.00000003"} {
			fsys.live[testDir+"/"+n] = &memFile{data: bytes.Clone(b)}
		}
		if !last {
			h := header{number: 4, prev: 3, prevLen: int64(len(b)), salt: 5}
			fsys.live[testDir+"/00000004"] = &memFile{data: h.encode(segmentMagic)}
		}
		replay := func() (l *Log, got []string) {
			l, err := Open(testDir, Options{FS: fsys})
			if err != nil {
				return nil, nil // a newer version
			}
			if _, err := l.Replay(context.Background(), func(rec []byte) error {
				got = append(got, string(rec))
				return nil
			}, nil); err != nil {
				t.Fatal(err)
			}
			return l, got
		}
		l, first := replay()
		if l == nil {
			return
		}
		if err := l.Wait(l.Enqueue([]byte("new"))); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, second := replay(); !slices.Equal(append(first, "new"), second) {
			t.Fatalf("%q, then %q", first, second)
		}
		if _, err := verify(fsys, testDir, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
