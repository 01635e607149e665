package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// tail is where the log is written. It belongs to the holder of the token.
type tail struct {
	cur  *segment // nil: the next batch begins a new one
	next uint64   // number of the next segment; no number is used twice

	// The last segment with a record that may not be lost, and its length; for the header of
	// the next one. cur, while it has records, comes after it.
	prev    uint64
	prevLen int64
	// empty are segments without such a record. They go when the next one is published, which
	// states that they hold nothing.
	empty []uint64
}

type segment struct {
	file  File
	num   uint64
	salt  uint32
	size  int64 // written, and acknowledged by the policy
	dirty bool  // not all of it is fsynced
}

// commit puts buf, which may be empty, at the end of the log. When it fails, what was there before
// is as it was, and a reader can tell.
func (l *Log) commit(buf []byte, sync bool) error {
	if n := int64(len(buf)); n > 0 {
		s := l.tail.cur
		if s == nil || s.size > headerSize && s.size+n > l.opt.SegmentBytes {
			if err := l.rotate(); err != nil {
				return err
			}
		}
	}
	s := l.tail.cur
	if s == nil {
		return nil
	}
	good := s.size
	if len(buf) > 0 {
		if err := l.write(s, buf); err != nil {
			return err
		}
	}
	if !sync || !s.dirty {
		return nil
	}
	return l.fsync(s, good)
}

func (l *Log) write(s *segment, buf []byte) error {
	stamp(buf, s.salt)
	n, err := s.file.WriteAt(buf, s.size)
	if err == nil && n < len(buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		// Cut off what was written. If even that is not possible the segment is given up,
		// and the next one's header says where it ends.
		if s.file.Truncate(s.size) != nil {
			l.retire(s.size)
		}
		return fmt.Errorf("wal: writing %d bytes to segment %s: %w", len(buf), segmentName(s.num), err)
	}
	s.size += int64(len(buf))
	s.dirty = true
	l.files.setSegment(s.num, s.size)
	return nil
}

// fsync makes the segment durable. After a failure the kernel may have dropped the dirty pages
// and call the next fsync of the same file a success, so the file is never written again; good is
// the length that may not be lost.
func (l *Log) fsync(s *segment, good int64) error {
	start := time.Now()
	if err := s.file.Sync(); err != nil {
		s.dirty = false
		l.retire(good)
		return fmt.Errorf("wal: fsync of segment %s: %w", segmentName(s.num), err)
	}
	s.dirty = false
	l.opt.OnSync(time.Since(start))
	return nil
}

// retire ends the current segment, if there is one, at length good.
func (l *Log) retire(good int64) {
	s := l.tail.cur
	if s == nil {
		return
	}
	l.tail.cur = nil
	if s.dirty { // by a policy other than always; the last chance
		if err := s.file.Sync(); err != nil {
			l.fail(fmt.Errorf("wal: fsync of segment %s: %w", segmentName(s.num), err))
		}
	}
	if size, err := s.file.Size(); err == nil {
		l.files.setSegment(s.num, size)
	}
	s.file.Close() // what matters is fsynced, or reported as not
	if good > headerSize {
		l.tail.prev, l.tail.prevLen = s.num, good
		return
	}
	l.tail.empty = append(l.tail.empty, s.num)
}

// rotate begins a new segment. The old one is durable before the new one can be seen, so only the
// last segment of a log can be torn. If it fails the old one may have been retired.
func (l *Log) rotate() (err error) {
	t := &l.tail
	if s := t.cur; s != nil && s.dirty {
		if err := l.fsync(s, s.size); err != nil {
			return err
		}
	}
	h := header{number: t.next, prev: t.prev, prevLen: t.prevLen, salt: newSalt()}
	if s := t.cur; s != nil && s.size > headerSize {
		h.prev, h.prevLen = s.num, s.size
	}
	name := segmentName(h.number)
	defer func() {
		if err != nil {
			err = fmt.Errorf("wal: starting segment %s: %w", name, err)
		}
	}()

	tmp := l.path(name + tmpSuffix)
	f, err := l.createTmp(tmp, h.encode(segmentMagic))
	if err != nil {
		return err
	}
	// From here on a crash may show the new header, which states the length of the old
	// segment: whatever happens now, the old one does not grow any more.
	if t.cur != nil {
		l.retire(t.cur.size)
	}
	t.next++
	if err := l.opt.FS.Rename(tmp, l.path(name)); err != nil {
		f.Close()
		l.cleanup(tmp)
		l.cleanup(l.path(name)) // an error does not say that nothing has happened
		return err
	}
	l.files.setSegment(h.number, headerSize)
	if err := l.opt.FS.SyncDir(l.dir); err != nil {
		f.Close()
		t.empty = append(t.empty, h.number)
		l.dropEmpty() // the header says what is so: it may come back after a crash
		return err
	}
	t.cur = &segment{file: f, num: h.number, salt: h.salt, size: headerSize}
	l.dropEmpty()
	return nil
}

// createTmp makes a file that is durable but for its name. It cleans up after itself.
func (l *Log) createTmp(tmp string, content []byte) (File, error) {
	f, err := l.opt.FS.Create(tmp)
	if err != nil {
		return nil, err
	}
	n, err := f.WriteAt(content, 0)
	if err == nil && n < len(content) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		l.cleanup(tmp)
		return nil, err
	}
	return f, nil
}

// dropEmpty removes segments that hold nothing. What cannot be removed is tried again with the
// next one, and by the next checkpoint.
func (l *Log) dropEmpty() {
	l.tail.empty = slices.DeleteFunc(l.tail.empty, func(n uint64) bool {
		if !l.cleanup(l.path(segmentName(n))) {
			return false
		}
		l.files.forget(kindSegment, n)
		return true
	})
}

// cleanup removes what is in nobody's way if it stays.
func (l *Log) cleanup(path string) bool {
	err := l.opt.FS.Remove(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.opt.OnError(&RemoveError{err})
		return false
	}
	return true
}
