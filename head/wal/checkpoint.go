package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// emitBytes is how much of a checkpoint is buffered.
const emitBytes = 256 << 10

// Checkpoint replaces what was logged so far by the records that write emits. It starts a segment
// N, calls write, publishes the records as the checkpoint of N, and only then removes the segments
// below N and older checkpoints. Enqueue and Wait work on meanwhile. One checkpoint runs at a time;
// others wait for it.
//
// What write emits must stand for everything that was enqueued before write was called; records
// enqueued around that time may be in the checkpoint and in segment N both, so replaying a record
// over a state that has it must be harmless. emit copies; its error must end write.
//
// An error of write is returned wrapped. After any error the log works on; if it came from
// removing, the checkpoint is valid and the next one removes the rest. Damaged files (see
// ReplayStats.Damaged) that the caller has not moved away are not removed but get the suffix
// ".damaged".
func (l *Log) Checkpoint(write func(emit func(rec []byte) error) error) error {
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	n, err := l.freshSegment()
	if err != nil {
		return err
	}
	failed := l.failed.Load() // those after this may be of records that write does not see
	if err := l.writeCheckpoint(n, write); err != nil {
		return fmt.Errorf("wal: writing checkpoint %s: %w", segmentName(n), err)
	}
	l.covered.Store(failed)
	return l.dropBelow(n)
}

// freshSegment returns the number of a current segment that has no records yet.
func (l *Log) freshSegment() (uint64, error) {
	l.token <- struct{}{}
	defer l.release()
	if err := l.check(); err != nil {
		return 0, err
	}
	// A checkpoint whose name may or may not be durable is not replaced by one of that name.
	if s := l.tail.cur; s == nil || s.size > headerSize || l.files.hasCheckpoint(s.num) {
		if err := l.rotate(); err != nil {
			l.fail(err)
			return 0, err
		}
	}
	return l.tail.cur.num, nil
}

func (l *Log) writeCheckpoint(n uint64, write func(emit func(rec []byte) error) error) error {
	name := checkpointName(n)
	tmp := l.path(name + tmpSuffix)
	h := header{number: n, salt: newSalt()}
	f, err := l.createTmp(tmp, h.encode(checkpointMagic))
	if err != nil {
		return err
	}
	e := &emitter{log: l, file: f, salt: h.salt, size: headerSize}
	err = e.run(write)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = l.opt.FS.Rename(tmp, l.path(name))
	}
	if err != nil {
		l.cleanup(tmp)
		return err
	}
	// It is complete: should the next step fail, a replay may use it or the segments.
	l.files.setCheckpoint(n, e.size)
	return l.opt.FS.SyncDir(l.dir)
}

// emitter writes the records of a checkpoint.
type emitter struct {
	log              *Log
	file             File
	salt             uint32
	buf              []byte
	size             int64
	records, payload int64
	err              error // the first; write may have ignored it
}

func (e *emitter) run(write func(emit func(rec []byte) error) error) error {
	if err := write(e.emit); err != nil {
		return err
	}
	if e.err == nil {
		e.buf = appendFrame(e.buf, trailer(e.records, e.payload), trailerFlag)
		e.flush()
	}
	return e.err
}

func (e *emitter) emit(rec []byte) error {
	switch {
	case e.err != nil:
		return e.err
	case len(rec) > MaxRecordBytes:
		e.err = fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(rec), MaxRecordBytes)
		return e.err
	}
	e.buf = appendFrame(e.buf, rec, 0)
	e.records++
	e.payload += int64(len(rec))
	if len(e.buf) >= emitBytes {
		e.flush()
	}
	return e.err
}

func (e *emitter) flush() {
	if e.err = e.log.check(); e.err != nil { // closed
		return
	}
	stamp(e.buf, e.salt)
	n, err := e.file.WriteAt(e.buf, e.size)
	if err == nil && n < len(e.buf) {
		err = io.ErrShortWrite
	}
	e.size += int64(n)
	e.buf, e.err = e.buf[:0], err
}

// dropBelow removes what checkpoint n replaces, oldest first.
func (l *Log) dropBelow(n uint64) error {
	segments, checkpoints := l.files.below(n)
	slices.Sort(segments)
	slices.Sort(checkpoints)
	var errs []error
	for _, m := range checkpoints {
		errs = append(errs, l.drop(kindCheckpoint, m, checkpointName(m)))
	}
	for _, m := range segments {
		errs = append(errs, l.drop(kindSegment, m, segmentName(m)))
	}
	return errors.Join(errs...)
}

func (l *Log) drop(k kind, n uint64, name string) error {
	var err error
	if l.files.isDamaged(name) {
		err = l.opt.FS.Rename(l.path(name), l.path(name+damagedSuffix))
	} else {
		err = l.opt.FS.Remove(l.path(name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wal: removing what a checkpoint replaced: %w", err)
	}
	l.files.forget(k, n)
	return nil
}
