package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"daybook/tsdb/task"
)

// To find out whether a task has rows in other tables takes a look into the
// unique index of each: 0.1 ms, which is nothing for a page and too much for a
// walk over millions. The indexes are in the order of ids, so that one merge
// of all of them names the ids that are in several: a microsecond a row. It is
// done behind the back of whoever walks far, and by Prepare.

const (
	// legacyProbes is how many rows a walk looks up before it wants the merge.
	legacyProbes = 5000
	// legacyMostTwice bounds the ids that are remembered; with more of them
	// every row is looked up.
	legacyMostTwice = 1 << 18
)

// legacyTwice is the set of ids, by hash, that may have several rows.
type legacyTwice struct {
	done   chan struct{}       // closed at its end
	hashes map[uint64]struct{} // nil if it is not known
	err    error
}

// single reports whether a task is known to have one row only.
func (s *legacyTwice) single(hash uint64) bool {
	if s == nil {
		return false
	}
	select {
	case <-s.done:
		_, twice := s.hashes[hash]
		return s.hashes != nil && !twice
	default:
		return false
	}
}

// twice returns the set, and begins to build it if nobody has; nil after Close.
func (l *Legacy) twice() *legacyTwice {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.twice == nil && l.life.Err() == nil {
		s := &legacyTwice{done: make(chan struct{})}
		l.mu.twice = s
		l.built.Add(1)
		go func() {
			defer l.built.Done()
			defer close(s.done)
			s.hashes, s.err = l.findTwice(l.life)
		}()
	}
	return l.mu.twice
}

// twiceIfBegun is the set if somebody has begun to build it.
func (l *Legacy) twiceIfBegun() *legacyTwice {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.twice
}

// findTwice merges the unique indexes of all tables.
func (l *Legacy) findTwice(ctx context.Context) (map[uint64]struct{}, error) {
	found := map[uint64]struct{}{}
	if len(l.tables) == 1 {
		return found, nil
	}
	if len(l.tables) > legacyMerged {
		return nil, nil
	}
	last := ""
	err := l.pool.with(ctx, func(c *conn) error {
		return c.each(ctx, 1, func(vals []driver.Value) error {
			id, ok := vals[0].(string)
			if ok && id == last && found != nil {
				found[task.HashID(id)] = struct{}{}
				if len(found) > legacyMostTwice {
					found = nil
				}
			}
			last = id
			return nil
		}, legacyTwiceText(l.tables))
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// legacyMerged is how many indexes are merged at most: SQLite compounds 500.
const legacyMerged = 400

func legacyTwiceText(tables []*legacyTable) string {
	var arms []string
	for _, t := range tables {
		arms = append(arms, fmt.Sprintf("SELECT t.task_id AS id FROM %s AS t INDEXED BY %s WHERE t.task_id > '' COLLATE BINARY AND t.task_id < x'' COLLATE BINARY", t.name, t.byID))
	}
	return strings.Join(arms, " UNION ALL ") + " ORDER BY 1 COLLATE BINARY"
}
