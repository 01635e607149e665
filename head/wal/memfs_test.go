package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fault says how operation number failAt fails.
type fault int

const (
	noFault     fault = iota
	failBefore        // it is not done
	failAfter         // it is done, and still says it failed
	failHalf          // a write writes half; everything else as failBefore
	failForGood       // this one and all later ones are not done: the process was killed
)

var faultNames = map[fault]string{failBefore: "before", failAfter: "after", failHalf: "half", failForGood: "kill"}

// memFS is a file system that knows what a power cut would leave.
type memFS struct {
	mu      sync.Mutex
	live    map[string]*memFile // by path
	durable map[string]*memFile // the names as of the last SyncDir
	ops     int
	failAt  int
	fault   fault
	fired   string // the operation that failed
	count   map[string]int
	hook    func(op, path string) // called without the lock
	err     error                 // EIO unless set
	always  string                // these operations fail every time
	killAt  int                   // from this one on nothing is done, whatever the fault; 0 never
}

type memFile struct {
	data   []byte
	synced []byte
}

func newMemFS() *memFS {
	return &memFS{live: map[string]*memFile{}, durable: map[string]*memFile{}, count: map[string]int{}}
}

var errKilled = errors.New("killed")

// do runs one operation under the lock, or makes it fail.
func (m *memFS) do(op, path string, fn func(part bool) error) error {
	if m.hook != nil {
		m.hook(op, path)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops++
	m.count[op]++
	cause := m.err
	if cause == nil {
		cause = syscall.EIO
	}
	fail := &fs.PathError{Op: op, Path: path, Err: cause}
	if m.killAt > 0 && m.ops >= m.killAt {
		return errKilled
	}
	if slices.Contains(strings.Fields(m.always), op) {
		return fail
	}
	if m.fault == noFault || m.ops < m.failAt || m.fault != failForGood && m.ops > m.failAt {
		return fn(false)
	}
	if m.fired == "" {
		m.fired = op
	}
	switch m.fault {
	case failAfter:
		if err := fn(false); err != nil {
			return err
		}
	case failHalf:
		if op == "write" {
			if err := fn(true); err != nil {
				return err
			}
		}
	case failForGood:
		return errKilled
	}
	return fail
}

func (m *memFS) MkdirAll(dir string) error {
	return m.do("mkdir", dir, func(bool) error { return nil })
}

func (m *memFS) SyncDir(dir string) error {
	return m.do("syncdir", dir, func(bool) error { m.durable = maps.Clone(m.live); return nil })
}

type memEntry string

func (e memEntry) Name() string               { return string(e) }
func (e memEntry) IsDir() bool                { return false }
func (e memEntry) Type() fs.FileMode          { return 0 }
func (e memEntry) Info() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (e memEntry) ModTime() time.Time         { return time.Time{} }
func (m *memFS) names() []string              { return slices.Sorted(maps.Keys(m.live)) }
func (m *memFS) get(path string) (*memFile, error) {
	if f := m.live[path]; f != nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func (m *memFS) ReadDir(dir string) (out []fs.DirEntry, err error) {
	err = m.do("readdir", dir, func(bool) error {
		for _, n := range m.names() {
			out = append(out, memEntry(filepath.Base(n)))
		}
		return nil
	})
	return out, err
}

func (m *memFS) open(op, path string) (File, error) {
	var f *memFile
	err := m.do(op, path, func(bool) (err error) { f, err = m.get(path); return err })
	if err != nil {
		return nil, err
	}
	return &memHandle{m, path, f}, nil
}

func (m *memFS) Open(path string) (File, error)      { return m.open("open", path) }
func (m *memFS) OpenWrite(path string) (File, error) { return m.open("openwrite", path) }

func (m *memFS) Create(path string) (File, error) {
	f := &memFile{}
	if err := m.do("create", path, func(bool) error { m.live[path] = f; return nil }); err != nil {
		return nil, err
	}
	return &memHandle{m, path, f}, nil
}

func (m *memFS) Rename(from, to string) error {
	return m.do("rename", from, func(bool) error {
		f, err := m.get(from)
		if err != nil {
			return err
		}
		delete(m.live, from)
		m.live[to] = f
		return nil
	})
}

func (m *memFS) Remove(path string) error {
	return m.do("remove", path, func(bool) error {
		_, err := m.get(path)
		delete(m.live, path)
		return err
	})
}

type memHandle struct {
	fs   *memFS
	path string
	f    *memFile
}

func (h *memHandle) Close() error { return nil }

func (h *memHandle) Size() (n int64, err error) {
	err = h.fs.do("size", h.path, func(bool) error { n = int64(len(h.f.data)); return nil })
	return n, err
}

func (h *memHandle) ReadAt(b []byte, off int64) (n int, err error) {
	err = h.fs.do("read", h.path, func(bool) error {
		if off < int64(len(h.f.data)) {
			n = copy(b, h.f.data[off:])
		}
		if n < len(b) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (h *memHandle) WriteAt(b []byte, off int64) (n int, err error) {
	err = h.fs.do("write", h.path, func(part bool) error {
		if part {
			b = b[:len(b)/2]
		}
		if need := int(off) + len(b) - len(h.f.data); need > 0 {
			h.f.data = append(h.f.data, make([]byte, need)...)
		}
		n = copy(h.f.data[off:], b)
		return nil
	})
	return n, err
}

func (h *memHandle) Truncate(size int64) error {
	return h.fs.do("truncate", h.path, func(bool) error {
		h.f.data = append(bytes.Clone(h.f.data[:min(int(size), len(h.f.data))]),
			make([]byte, max(0, int(size)-len(h.f.data)))...)
		return nil
	})
}

func (h *memHandle) Sync() error {
	return h.fs.do("sync", h.path, func(bool) error { h.f.synced = bytes.Clone(h.f.data); return nil })
}

// crash is a state that the disk may be in afterwards.
type crash int

const (
	crashKill  crash = iota // the process died, the kernel lives: everything is there
	crashLost               // power cut: nothing but what was fsynced
	crashTorn               // power cut: the names, and half of what was not fsynced
	crashZeros              // power cut: the names and sizes; zeros where nothing was fsynced
	crashes
)

// after returns a healthy file system with what is left.
func (m *memFS) after(c crash) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemFS()
	from := m.live
	if c == crashLost {
		from = m.durable
	}
	for path, f := range from {
		b := bytes.Clone(f.data)
		// Common prefix: only what differs from the fsynced content can be lost.
		same := 0
		for same < min(len(b), len(f.synced)) && b[same] == f.synced[same] {
			same++
		}
		switch c {
		case crashLost:
			b = bytes.Clone(f.synced)
		case crashTorn:
			b = b[:same+(len(b)-same)/2]
		case crashZeros:
			clear(b[same:])
		}
		out.live[path] = &memFile{data: b, synced: bytes.Clone(b)}
	}
	out.durable = maps.Clone(out.live)
	return out
}

func (m *memFS) String() string {
	var s string
	for _, n := range m.names() {
		s += fmt.Sprintf("%s:%d ", filepath.Base(n), len(m.live[n].data))
	}
	return s
}
