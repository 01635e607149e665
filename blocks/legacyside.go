package blocks

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sort"

	"daybook/tsdb/task"
)

// Rows without a proper finished_at are at one end of the index by time, not
// at their place in the order, and tables that an older version made beside
// the newer ones have no such index. What both kinds of rows lack is a small
// index of our own: the side. It is read once per open file, when the first
// query needs it.

const (
	// legacySideRows is how many entries are kept in memory: 16 MiB. More go to
	// a temporary database.
	legacySideRows = 1 << 19
	// legacyBatch is how many rows are read in one statement, and so in one
	// read transaction, while the side is built.
	legacyBatch = 20_000
	// legacyStrays is how many of them a query by name reads for itself while
	// the side is not there.
	legacyStrays = 4096
	// legacyNear is how many row ids away a row without any time may look for
	// one that has a time.
	legacyNear = 1000
)

// legacyEntry is the place of a row, and enough of it to leave it unread.
type legacyEntry struct {
	at    int64
	hash  uint64 // of the task id
	row   int64
	name  uint32 // of the hash of the task name
	table uint16
	state task.State
}

func (e *legacyEntry) compare(o *legacyEntry) int {
	return cmp.Or(cmp.Compare(e.at, o.at), cmp.Compare(e.hash, o.hash), cmp.Compare(e.table, o.table), cmp.Compare(e.row, o.row))
}

func legacyNameHash(name string) uint32 { return uint32(task.HashID(name)) }

// legacySide is a sorted set of entries, in memory or spilled.
type legacySide struct {
	oldest, newest int64 // 0 if there is none
	mem            []legacyEntry
	spill          *legacySpill
}

// add takes an entry. Nothing is in order before finish.
func (s *legacySide) add(e legacyEntry) error {
	if s.oldest == 0 || e.at < s.oldest {
		s.oldest = e.at
	}
	s.newest = max(s.newest, e.at)
	s.mem = append(s.mem, e)
	if len(s.mem) < legacySideRows {
		return nil
	}
	return s.flush()
}

func (s *legacySide) flush() (err error) {
	if s.spill == nil {
		if s.spill, err = openLegacySpill(); err != nil {
			return err
		}
	}
	err = s.spill.write(s.mem)
	s.mem = s.mem[:0]
	return err
}

func (s *legacySide) finish() error {
	slices.SortFunc(s.mem, func(a, b legacyEntry) int { return a.compare(&b) })
	if s.spill == nil {
		s.mem = slices.Clip(s.mem)
		return nil
	}
	err := s.flush()
	s.mem = nil
	return err
}

func (s *legacySide) close() error {
	if s.spill == nil {
		return nil
	}
	return s.spill.close()
}

// legacySidePos walks over the entries from a time on, in one direction.
type legacySidePos struct {
	side   *legacySide
	oldest bool
	buf    []legacyEntry
	i      int // the next one in buf, ascending or descending
	last   legacyEntry
	ended  bool
}

// from returns the walk over the entries at or behind a time.
func (s *legacySide) from(at int64, oldest bool) *legacySidePos {
	p := &legacySidePos{side: s, oldest: oldest}
	if s.spill != nil {
		p.last = legacyEntry{at: at - 1, hash: math.MaxUint64, table: math.MaxUint16, row: math.MaxInt64}
		if !oldest {
			p.last = legacyEntry{at: at + 1, row: math.MinInt64}
		}
		return p
	}
	p.buf, p.ended = s.mem, true
	if oldest {
		p.i = sort.Search(len(p.buf), func(i int) bool { return p.buf[i].at >= at })
	} else {
		p.i = sort.Search(len(p.buf), func(i int) bool { return p.buf[i].at > at }) - 1
	}
	return p
}

// head is the next entry, nil at the end. It is valid until the next head.
func (p *legacySidePos) head(ctx context.Context) (*legacyEntry, error) {
	for p.i < 0 || p.i >= len(p.buf) {
		if p.ended {
			return nil, nil
		}
		var err error
		if p.buf, err = p.side.spill.page(ctx, p.last, p.oldest, p.buf[:0]); err != nil {
			return nil, err
		}
		p.i, p.ended = 0, len(p.buf) == 0
		if !p.ended {
			p.last = p.buf[len(p.buf)-1]
		}
	}
	return &p.buf[p.i], nil
}

func (p *legacySidePos) next() {
	if p.side.spill == nil && !p.oldest {
		p.i--
	} else {
		p.i++
	}
}
