package wal

import (
	"context"
	"fmt"
	"time"
)

// spareBytes is the largest buffer that is kept for the next batch.
const spareBytes = 4 << 20

// batch is what is written, fsynced and acknowledged (or refused) together.
type batch struct {
	buf  []byte        // guarded by Log.mu until the batch is taken, then the token holder's
	done chan struct{} // closed when err is final
	err  error
}

func newBatch(buf []byte) *batch {
	return &batch{buf: buf[:0], done: make(chan struct{})}
}

func (b *batch) isDone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// Ticket stands for everything that was enqueued up to a point. The zero Ticket is durable.
type Ticket struct {
	batch *batch
	err   error
}

// Enqueue copies the records into memory, behind everything that was enqueued before. It does no
// I/O and waits for none, so it may be called under the caller's mutex, which is how the caller
// fixes the order. With no records it returns a ticket for what was enqueued before.
//
// What is wrong with the records is reported by Wait for this ticket alone, and then none of them
// is taken: ErrTooLarge, ErrNotReplayed, ErrClosed.
//
// The records of one call may be separated by a crash: a prefix of them survives.
func (l *Log) Enqueue(recs ...[]byte) Ticket {
	size := 0
	for _, r := range recs {
		if len(r) > MaxRecordBytes {
			return Ticket{err: fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(r), MaxRecordBytes)}
		}
		size += frameOverhead + len(r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mu.state.check(); err != nil {
		return Ticket{err: err}
	}
	b := l.mu.cur
	for _, r := range recs {
		b.buf = appendFrame(b.buf, r, 0)
	}
	l.pending.Add(int64(size))
	return Ticket{batch: b}
}

// Wait returns when the ticket's records, and all that were enqueued before them, are durable by
// the policy or have been refused. An error means that this batch was refused: none of its
// records is acknowledged, though some may show up in a replay. The next batch is tried afresh,
// on a new segment if need be. errors.Is sees the cause, such as syscall.ENOSPC.
//
// The first waiter writes and fsyncs for all.
func (l *Log) Wait(t Ticket) error {
	if t.batch == nil {
		return t.err
	}
	select {
	case <-t.batch.done:
		return t.batch.err
	case l.token <- struct{}{}:
	}
	defer l.release()
	// Batches are taken and finished under the token: one that is not done is the current one.
	if !t.batch.isDone() {
		l.flush(l.opt.Sync == SyncAlways)
	}
	return t.batch.err
}

// WaitContext is Wait, but returns ctx's error when ctx ends first, however long the disk takes. The
// batch is written all the same: its records may be acknowledged to nobody and durable.
func (l *Log) WaitContext(ctx context.Context, t Ticket) error {
	if t.batch == nil {
		return t.err
	}
	select {
	case <-t.batch.done:
		return t.batch.err
	case <-ctx.Done():
		return ctx.Err()
	case l.token <- struct{}{}:
	}
	// A write that the disk does not answer cannot be called off: it gets a goroutine, which has
	// the token until the disk does.
	go func() {
		defer l.release()
		if !t.batch.isDone() {
			l.flush(l.opt.Sync == SyncAlways)
		}
	}()
	select {
	case <-t.batch.done:
		return t.batch.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stalled returns for how long the disk has not answered the write or fsync that is under way; 0 if
// there is none.
func (l *Log) Stalled() time.Duration {
	if since := l.busy.Load(); since != 0 {
		return time.Since(time.Unix(0, since))
	}
	return 0
}

// Sync writes and fsyncs everything that was enqueued, whatever the policy.
func (l *Log) Sync() error {
	if err := l.check(); err != nil {
		return err
	}
	l.token <- struct{}{}
	defer l.release()
	return l.flush(true)
}

// Run fsyncs every Options.SyncInterval if that is the policy. It returns nil when ctx is done.
// Errors do not end it: they go to Options.OnError, and NeedsCheckpoint is true from then on.
func (l *Log) Run(ctx context.Context) error {
	if l.opt.Sync != SyncInterval {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(l.opt.SyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = l.Sync() // reported by flush
		}
	}
}

// flush writes the current batch, fsyncs if asked to, and tells the waiters. The token is held.
func (l *Log) flush(sync bool) error {
	b := l.take()
	size := int64(len(b.buf))
	l.busy.Store(time.Now().UnixNano())
	b.err = l.commit(b.buf, sync)
	l.busy.Store(0)
	if b.err != nil {
		l.fail(b.err)
	}
	l.mu.Lock()
	if cap(b.buf) <= spareBytes {
		l.mu.spare = b.buf
	}
	l.mu.Unlock()
	b.buf = nil // tickets may live long
	l.pending.Add(-size)
	close(b.done)
	return b.err
}

// take ends the current batch and begins another.
func (l *Log) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.mu.cur
	l.mu.cur = newBatch(l.mu.spare)
	l.mu.spare = nil
	return b
}

func (l *Log) fail(err error) {
	l.failed.Add(1)
	l.opt.OnError(err)
}
