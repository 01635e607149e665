package blocks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// openFiles are the open files of this process whose names begin with a path,
// the deleted ones included.
func openFiles(t *testing.T, path string) []string {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc/self/fd to see which files are open")
	}
	var out []string
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, path) {
			out = append(out, target)
		}
	}
	return out
}

// sealedDays are n days of one row each.
func sealedDays(s *shelf, n int) []attachment {
	var out []attachment
	for i := range n {
		day := testDay + task.Day(i)
		f := s.sealed(day, 1, []task.Invocation{rowAt(day.String(), "n", day.Start()+1, task.StateSuccess)}, nil)
		out = append(out, attachment{f.Path(), modeImmutable})
	}
	return out
}

func mustAcquire(t *testing.T, p *Pool, files ...attachment) *session {
	t.Helper()
	s, err := p.acquire(context.Background(), files...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The sessions of a pool together keep more files attached than one could.
func TestPoolKeepsFilesAttached(t *testing.T) {
	files := sealedDays(newShelf(t), 7)
	p := NewPool(PoolOptions{Conns: 3, Limit: 2})
	defer p.Close()
	var first []*session
	for _, f := range files[:6] {
		s := mustAcquire(t, p, f)
		first = append(first, s)
		p.release(s, nil)
	}
	for i, f := range files[:6] {
		s := mustAcquire(t, p, f)
		if s != first[i] {
			t.Errorf("%s was attached again", f.path)
		}
		p.release(s, nil)
	}
	if s := mustAcquire(t, p, files[6]); len(s.at) != 2 || len(openFiles(t, files[0].path)) != 0 {
		t.Errorf("the file that was not used for longest is still open: %v", s.at)
	} else {
		p.release(s, nil)
	}
	p.Close()
	for _, f := range files {
		if open := openFiles(t, f.path); len(open) > 0 {
			t.Errorf("open after Close: %v", open)
		}
	}
}

// A session attaches a day's two files also if one of them is the next to go.
func TestPoolAttachesTogether(t *testing.T) {
	files := sealedDays(newShelf(t), 3)
	p := NewPool(PoolOptions{Conns: 1, Limit: 1})
	defer p.Close()
	p.release(mustAcquire(t, p, files[0], files[1]), nil)
	p.release(mustAcquire(t, p, files[1]), nil)
	s := mustAcquire(t, p, files[2], files[0])
	for _, f := range []attachment{files[2], files[0]} {
		if _, err := (resolver{s.c, s.schema(f.path)}).ids(context.Background(), "SELECT key FROM "+s.schema(f.path)+".invocation"); err != nil {
			t.Errorf("%s: %v", f.path, err)
		}
	}
	p.release(s, nil)
	if _, err := p.acquire(context.Background(), files...); err == nil {
		t.Error("three files at a limit of two")
	}
}

func TestPoolRefusals(t *testing.T) {
	sh := newShelf(t)
	files := sealedDays(sh, 1)
	missing := filepath.Join(sh.dir, "missing.db")
	p := NewPool(PoolOptions{Conns: 1})
	for _, mode := range []fileMode{modeRead, modeImmutable} {
		_, err := p.acquire(context.Background(), files[0], attachment{missing, mode})
		var fe *fileError
		if !errors.As(err, &fe) || fe.path != missing {
			t.Errorf("attaching a missing file: %v", err)
		}
		if _, err := os.Lstat(missing); err == nil {
			t.Fatal("attaching created the file")
		}
	}
	if open := openFiles(t, files[0].path); len(open) > 0 {
		t.Errorf("the failed session still has %v", open)
	}

	s := mustAcquire(t, p, files[0])
	for _, write := range []string{"DELETE FROM d0.invocation", "PRAGMA d0.user_version = 7", "CREATE TABLE main.x (y)"} {
		if err := s.c.script(write); err == nil {
			t.Errorf("%q was allowed", write)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.acquire(ctx, files[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a session: %v", err)
	}
	p.release(s, errors.New("any"))
	if open := openFiles(t, files[0].path); len(open) > 0 {
		t.Errorf("a session that failed was kept: %v", open)
	}
	p.Close()
	p.Close()
	if _, err := p.acquire(context.Background(), files[0]); !errors.Is(err, errPoolClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Close waits for the sessions in use.
func TestPoolCloseWaits(t *testing.T) {
	p := NewPool(PoolOptions{Conns: 2})
	s := mustAcquire(t, p)
	closed := make(chan struct{})
	go func() {
		p.Close()
		close(closed)
	}()
	<-p.done
	select {
	case <-closed:
		t.Fatal("Close did not wait")
	default:
	}
	p.release(s, nil)
	<-closed
}
