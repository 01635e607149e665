package wal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"testing"
)

func discard([]byte) error { return nil }

// started returns a log in dir that is ready to be written.
func started(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if _, err := l.Replay(context.Background(), discard, nil); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	want := [][]byte{{}, []byte("a"), make([]byte, 100), bytes.Repeat([]byte("xyz"), 1<<20), []byte("end")}
	l := started(t, dir, Options{})
	for _, rec := range want {
		if err := l.Wait(l.Enqueue(rec)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Wait(l.Enqueue()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // replaying changes nothing
		l, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got [][]byte
		var done, total int64
		st, err := l.Replay(context.Background(), func(rec []byte) error {
			got = append(got, bytes.Clone(rec))
			return nil
		}, func(d, n int64) {
			if d < done || d > n {
				t.Errorf("progress went from %d to %d of %d", done, d, n)
			}
			done, total = d, n
		})
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatal(len(got), err)
		}
		if st.Records != int64(len(want)) || st.Segments != 1 || st.Bytes != l.Bytes() || done != total || total != st.Bytes {
			t.Fatalf("%+v, %d of %d", st, done, total)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMisuse(t *testing.T) {
	l, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	is := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	emitNothing := func(func([]byte) error) error { return nil }
	replay := func() error { _, err := l.Replay(context.Background(), discard, nil); return err }
	is(l.Wait(l.Enqueue([]byte("x"))), ErrNotReplayed)
	is(l.Checkpoint(emitNothing), ErrNotReplayed)
	is(l.Sync(), ErrNotReplayed)
	is(replay(), nil)
	is(replay(), ErrReplayed)

	big, ok := l.Enqueue([]byte("with"), make([]byte, MaxRecordBytes+1)), l.Enqueue([]byte("ok"))
	is(l.Wait(big), ErrTooLarge)
	is(l.Wait(ok), nil)
	is(l.Wait(Ticket{}), nil)
	is(l.Checkpoint(func(emit func([]byte) error) error {
		_ = emit(make([]byte, MaxRecordBytes+1)) // ignored, and still refused
		return nil
	}), ErrTooLarge)
	is(l.Checkpoint(func(func([]byte) error) error { return os.ErrInvalid }), os.ErrInvalid)

	last := l.Enqueue([]byte("nobody waits"))
	is(l.Close(), nil)
	is(l.Close(), nil)
	is(l.Wait(last), nil)
	is(l.Wait(l.Enqueue([]byte("x"))), ErrClosed)
	is(l.Checkpoint(emitNothing), ErrClosed)
	is(l.Sync(), ErrClosed)
	is(replay(), ErrClosed)

	var got []string
	if _, err := Read(l.dir, nil, func(b []byte) error { got = append(got, string(b)); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"ok", "nobody waits"}) {
		t.Fatalf("%q", got)
	}
	for _, o := range []Options{{SegmentBytes: 1}, {Sync: 7}, {SyncInterval: -1}} {
		if _, err := Open(t.TempDir(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestReplayEnds: fn and ctx end a replay, and it can be done again.
func TestReplayEnds(t *testing.T) {
	fsys, m := plain(t, true)
	l, err := Open(testDir, Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if _, err := l.Replay(context.Background(), func([]byte) error { return stop }, nil); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Replay(ctx, discard, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	n := 0
	if _, err := l.Replay(context.Background(), func([]byte) error { n++; return nil }, nil); err != nil || n < len(m.order) {
		t.Fatal(n, err)
	}
	l.Close()
}
