package wal

import "sync"

// files is the log's idea of what is on disk. It does no I/O.
type files struct {
	mu          sync.Mutex // a leaf: nothing is locked while it is held
	segments    map[uint64]int64
	checkpoints map[uint64]int64
	damaged     map[string]bool // by base name
}

// reset takes over what list has found.
func (f *files) reset(inv inventory) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.segments, f.checkpoints = make(map[uint64]int64), make(map[uint64]int64)
	f.damaged = make(map[string]bool)
	for _, e := range inv.segments {
		f.segments[e.num] = e.size
	}
	for _, e := range inv.checkpoints {
		f.checkpoints[e.num] = e.size
	}
}

func (f *files) setSegment(n uint64, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.segments[n] = size
}

func (f *files) setCheckpoint(n uint64, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checkpoints[n] = size
}

func (f *files) hasCheckpoint(n uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.checkpoints[n]
	return ok
}

func (f *files) setDamaged(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.damaged[name] = true
}

func (f *files) isDamaged(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.damaged[name]
}

func (f *files) forget(k kind, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k == kindCheckpoint {
		delete(f.checkpoints, n)
		return
	}
	delete(f.segments, n)
}

// below returns the segments and checkpoints with a number lower than n.
func (f *files) below(n uint64) (segments, checkpoints []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.segments {
		if m < n {
			segments = append(segments, m)
		}
	}
	for m := range f.checkpoints {
		if m < n {
			checkpoints = append(checkpoints, m)
		}
	}
	return segments, checkpoints
}

func (f *files) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.segments)
}

func (f *files) bytes() (sum int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.segments {
		sum += n
	}
	for _, n := range f.checkpoints {
		sum += n
	}
	return sum
}
