package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
)

// loader reads a directory once. It changes nothing.
type loader struct {
	ctx      context.Context
	fs       FS
	dir      string
	inv      inventory
	fn       func(rec []byte) error
	progress func(done, total int64)

	stats ReplayStats
	last  lastSegment
	total int64  // bytes to read
	path  string // of the current file
	told  int64  // offset in the current file when progress was last called
}

// lastSegment is what the writer must know about where the log ends.
type lastSegment struct {
	entry
	end  int64 // of what may be kept
	torn bool  // there are bytes after end, and they may go
}

// load calls fn for every record of the log: see the package comment for the order and for what
// happens on damage. It returns the first error of fn that is not ErrNotUnderstood, of ctx and of reading.
func (l *loader) load() error {
	l.stats.Unknown = l.inv.unknown
	base, salvage, err := l.choose()
	if err != nil {
		return err
	}
	from := uint64(0)
	if base != nil {
		from = base.num
	}
	first := l.inv.since(from)
	l.plan(base, salvage, first)

	if base != nil {
		l.stats.Checkpoint = base.num
		if _, err = l.checkpoint(*base, true); err != nil {
			return err
		}
	}
	for _, h := range l.inv.missing(from) {
		if salvage == nil || h.number >= salvage.num {
			l.stats.missing(filepath.Join(l.dir, segmentName(h.number)), 0, h.prevLen, "the file is missing")
		}
	}
	// What is salvaged holds what was before its segment, so it goes there.
	for i := first; i < len(l.inv.segments); i++ {
		if salvage != nil && l.inv.segments[i].num >= salvage.num {
			if err := l.salvage(*salvage); err != nil {
				return err
			}
			salvage = nil
		}
		if err := l.segment(i); err != nil {
			return err
		}
	}
	if salvage != nil {
		if err := l.salvage(*salvage); err != nil {
			return err
		}
	}
	if l.progress != nil {
		l.progress(l.total, l.total)
	}
	return nil
}

// choose returns the newest complete checkpoint, and the newest damaged one if its records are
// the only place where a part of the log still is.
func (l *loader) choose() (base, salvage *entry, err error) {
	for i := len(l.inv.checkpoints) - 1; i >= 0; i-- {
		e := &l.inv.checkpoints[i]
		w, reason, err := l.complete(*e)
		if err != nil {
			return nil, nil, err
		}
		if reason == "" {
			base = e
			break
		}
		for _, h := range w.holes {
			l.stats.corrupt(e.path, h.off, h.length, h.reason)
		}
		if len(w.holes) == 0 {
			l.stats.corrupt(e.path, w.end, 0, reason)
		}
		if salvage == nil {
			salvage = e
		}
	}
	if salvage == nil {
		return base, nil, nil
	}
	// The segments that the damaged checkpoint replaced may still be there: it was published,
	// but the clean-up did not finish.
	from := uint64(0)
	if base != nil {
		from = base.num
	}
	if l.inv.unbroken(from, salvage.num) {
		salvage = nil
	}
	return base, salvage, nil
}

// complete reads a checkpoint to its trailer without believing anything. The reason is empty if
// it may be used.
func (l *loader) complete(e entry) (w walked, reason string, err error) {
	err = l.open(e, e.size, true, func(s *scanner) error {
		w, err = s.walk(e.bad, func(frame) error { return l.ctx.Err() })
		return err
	})
	return w, w.incomplete(e), err
}

// incomplete returns why a checkpoint is not to be believed.
func (w walked) incomplete(e entry) string {
	t := w.trailer.payload
	switch {
	case e.bad != "":
		return e.bad
	case len(w.holes) > 0:
		return w.holes[0].reason
	case t == nil || w.trailer.end() != e.size:
		return "the trailer is missing"
	case int64(binary.LittleEndian.Uint64(t)) != w.records || int64(binary.LittleEndian.Uint64(t[8:])) != w.payload:
		return "the trailer counts other records"
	}
	return ""
}

// plan adds up what will be read, for progress.
func (l *loader) plan(base, salvage *entry, first int) {
	for _, e := range []*entry{base, salvage} {
		if e != nil {
			l.total += e.size
		}
	}
	for i := first; i < len(l.inv.segments); i++ {
		l.total += l.inv.segments[i].size
	}
}

// checkpoint replays the records of one. A whole one has been read before and must not have
// changed since.
func (l *loader) checkpoint(e entry, whole bool) (records int64, err error) {
	err = l.open(e, e.size, true, func(s *scanner) error {
		w, err := s.walk(e.bad, l.record)
		records = w.records
		if err == nil && whole && w.incomplete(e) != "" {
			err = fmt.Errorf("wal: %s changed while it was read: %s", e.path, w.incomplete(e))
		}
		return err
	})
	l.stats.Bytes += e.size
	return records, err
}

func (l *loader) salvage(e entry) (err error) {
	l.stats.SalvagedRecords, err = l.checkpoint(e, false)
	return err
}

// segment replays the records of one.
func (l *loader) segment(i int) error {
	e := l.inv.segments[i]
	ext, length := l.inv.extent(i)
	if ext == extentNothing {
		l.stats.AbandonedBytes += max(e.size-headerSize, 0)
		return nil
	}
	limit := e.size
	if ext == extentExact {
		limit = min(length, e.size)
		l.stats.AbandonedBytes += e.size - limit
	}
	var w walked
	err := l.open(e, limit, false, func(s *scanner) (err error) {
		w, err = s.walk(e.bad, l.record)
		return err
	})
	l.stats.Segments++
	l.stats.Records += w.records
	l.stats.Bytes += limit
	if err != nil {
		return err
	}
	l.judge(e, w, ext, length)
	return nil
}

// judge turns the holes of a segment into findings.
func (l *loader) judge(e entry, w walked, ext extent, length int64) {
	end := w.end
	for i, h := range w.holes {
		switch torn := w.tail && i == len(w.holes)-1; {
		case torn && ext == extentLast && e.bad == "":
			// Neither zeros, nor garbage, nor half a frame: nothing intact comes after.
			l.stats.TornBytes += h.length
		case torn && ext == extentExact:
			l.stats.corrupt(e.path, h.off, length-h.off, h.reason)
		default:
			l.stats.corrupt(e.path, h.off, h.length, h.reason)
			end = max(end, h.off+h.length)
		}
	}
	if ext == extentExact && !w.tail && e.size < length {
		l.stats.corrupt(e.path, e.size, length-e.size, "the file is shorter than the next one says")
	}
	if ext == extentLast {
		l.last = lastSegment{entry: e, end: end, torn: w.tail && e.bad == "" && len(w.holes) == 1}
	}
}

func (l *loader) open(e entry, limit int64, checkpoint bool, fn func(s *scanner) error) error {
	f, err := l.fs.Open(e.path)
	if err != nil {
		return fmt.Errorf("wal: opening: %w", err)
	}
	defer f.Close()
	l.path = e.path
	if err := fn(&scanner{r: f, limit: limit, salt: e.header.salt, checkpoint: checkpoint}); err != nil {
		return fmt.Errorf("wal: reading %s: %w", e.path, err)
	}
	return nil
}

// record hands one record to the caller, and about once a megabyte looks up from the work.
func (l *loader) record(f frame) error {
	if f.off-l.told >= 1<<20 || f.off < l.told {
		l.told = f.off
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if l.progress != nil {
			l.progress(min(l.stats.Bytes+f.off, l.total), l.total)
		}
	}
	err := l.fn(f.payload)
	if errors.Is(err, ErrNotUnderstood) {
		l.stats.notUnderstood(l.path, f, err)
		return nil
	}
	return err
}
