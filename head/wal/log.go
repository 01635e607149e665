package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Log is an open log. All methods may be called concurrently.
//
// Lock order: checkpointing, then the token, then mu or files.mu. mu and files.mu are never held
// during I/O, which is what lets Enqueue be called under the caller's own mutex.
type Log struct {
	dir   string
	opt   Options
	files files

	// checkpointing is held for the length of a checkpoint, and by Close.
	checkpointing sync.Mutex
	// token is taken by sending. Its holder is the only one who writes segments and touches
	// tail. A channel, so that a waiter whose batch is done need not queue behind the next fsync.
	token chan struct{}
	tail  tail

	mu struct {
		sync.Mutex
		state state
		cur   *batch // takes what is enqueued; never nil
		spare []byte // a buffer for the next batch
	}

	busy    atomic.Int64  // when the write under way began, nanoseconds since 1970; 0 if there is none
	pending atomic.Int64  // bytes enqueued and not yet written or refused
	failed  atomic.Uint64 // number of failed batches and fsyncs …
	covered atomic.Uint64 // … of which a checkpoint made up for
}

type state int

const (
	stateOpen state = iota
	stateReplayed
	stateClosed
)

// Open opens the log in dir, which it creates if it is missing, and sweeps what an interrupted
// run left unfinished. It reads no records and starts no goroutine. The caller makes sure that no
// other process writes the directory.
//
// A *VersionError is returned for files of a newer format, before anything has been changed.
func Open(dir string, o Options) (*Log, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	inv, err := list(o.FS, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = o.FS.MkdirAll(dir); err == nil {
			err = o.FS.SyncDir(filepath.Dir(dir))
		}
		if err != nil {
			return nil, fmt.Errorf("wal: creating the directory: %w", err)
		}
		inv, err = list(o.FS, dir)
	}
	if err != nil {
		return nil, err
	}
	for _, path := range inv.tmp {
		if err := o.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("wal: sweeping: %w", err)
		}
	}
	l := &Log{dir: dir, opt: o, token: make(chan struct{}, 1)}
	l.mu.cur = newBatch(nil)
	l.files.reset(inv)
	return l, nil
}

// Bytes returns the physical size of all segments and checkpoints, in bytes.
func (l *Log) Bytes() int64 { return l.files.bytes() }

// Segments returns the number of segment files.
func (l *Log) Segments() int { return l.files.count() }

// PendingBytes returns the bytes that were enqueued and are neither written nor refused yet,
// frame headers included. It takes no lock.
func (l *Log) PendingBytes() int64 { return l.pending.Load() }

// NeedsCheckpoint reports whether a batch has failed since the last successful checkpoint was
// begun: the caller may then have in memory what is not in the log.
func (l *Log) NeedsCheckpoint() bool { return l.failed.Load() != l.covered.Load() }

// Close writes and fsyncs what is pending and closes the log. It waits for a running checkpoint,
// which ends early with ErrClosed. Calls after the first do nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	was := l.mu.state
	l.mu.state = stateClosed
	l.mu.Unlock()
	if was == stateClosed {
		return nil
	}
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	l.token <- struct{}{}
	defer l.release()
	if was == stateOpen {
		return nil
	}
	err := l.flush(true)
	if s := l.tail.cur; s != nil {
		l.tail.cur = nil
		if cerr := s.file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("wal: closing segment %s: %w", segmentName(s.num), cerr)
		}
	}
	return err
}

func (l *Log) release() { <-l.token }

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

// check returns why records cannot be written, if they cannot.
func (s state) check() error {
	switch s {
	case stateOpen:
		return ErrNotReplayed
	case stateClosed:
		return ErrClosed
	}
	return nil
}

func (l *Log) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.state.check()
}
