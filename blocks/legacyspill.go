package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"sync"

	"daybook/tsdb/task"
)

// legacySpill is a side that does not fit into memory: a temporary database
// that SQLite makes in the system's directory for such files (SQLITE_TMPDIR),
// unlinks at once, and so leaves nothing behind whatever happens.
type legacySpill struct {
	mu sync.Mutex // around all use of c
	c  *conn
}

func openLegacySpill() (*legacySpill, error) {
	c, err := openMemory()
	if err != nil {
		return nil, err
	}
	err = c.scripts(context.Background(), `ATTACH '' AS side; PRAGMA side.journal_mode = OFF; PRAGMA side.cache_size = -8192;
CREATE TABLE side.entry (at INTEGER, hash INTEGER, tab INTEGER, row INTEGER, name INTEGER, state INTEGER, PRIMARY KEY (at, hash, tab, row)) WITHOUT ROWID`)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return &legacySpill{c: c}, nil
}

// legacySigned keeps the order of hashes as SQLite's integers.
func legacySigned(hash uint64) int64 { return int64(hash ^ 1<<63) }

func (s *legacySpill) write(entries []legacyEntry) error {
	slices.SortFunc(entries, func(a, b legacyEntry) int { return a.compare(&b) })
	return s.c.transaction(func() error {
		args := make([]driver.NamedValue, 6)
		for i := range args {
			args[i].Ordinal = i + 1
		}
		for i := range entries {
			e := &entries[i]
			args[0].Value, args[1].Value, args[2].Value = e.at, legacySigned(e.hash), int64(e.table)
			args[3].Value, args[4].Value, args[5].Value = e.row, int64(e.name), int64(e.state)
			if err := s.c.execNamed("INSERT OR IGNORE INTO side.entry VALUES (?, ?, ?, ?, ?, ?)", args); err != nil {
				return err
			}
		}
		return nil
	})
}

// page appends the entries behind one, a thousand or so at a time.
func (s *legacySpill) page(ctx context.Context, after legacyEntry, oldest bool, out []legacyEntry) ([]legacyEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := "SELECT at, hash, tab, row, name, state FROM side.entry WHERE (at, hash, tab, row) < (?, ?, ?, ?) ORDER BY at DESC, hash DESC, tab DESC, row DESC LIMIT 1024"
	if oldest {
		text = "SELECT at, hash, tab, row, name, state FROM side.entry WHERE (at, hash, tab, row) > (?, ?, ?, ?) ORDER BY at, hash, tab, row LIMIT 1024"
	}
	var n [6]int64
	err := s.c.each(ctx, len(n), func(vals []driver.Value) error {
		for i := range n {
			n[i], _ = vals[i].(int64)
		}
		out = append(out, legacyEntry{at: n[0], hash: uint64(n[1]) ^ 1<<63, table: uint16(n[2]), row: n[3], name: uint32(n[4]), state: task.State(n[5])})
		return nil
	}, text, after.at, legacySigned(after.hash), int64(after.table), after.row)
	return out, err
}

func (s *legacySpill) close() error { return s.c.close() }
