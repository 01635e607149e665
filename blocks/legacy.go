package blocks

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"
)

// Legacy is a database of the program that Daybook follows, from before its
// days were files of their own: attached read-only, never changed, and let go
// of as a whole. It answers like any block, from its own connections: its
// schema is foreign, so that it is not attached beside day files.
//
// The file must not change while it is open; when it has, everything returns a
// *LegacyError that says so. docs/legacy.md is for users, docs/adr/0006-legacy.md
// says why it is read as it is. It is safe for concurrent use.
type Legacy struct {
	path   string
	guard  *legacyGuard
	pool   *legacyPool
	tables []*legacyTable // in the order in which the old program looked ids up
	kind   string
	rows   int64
	holds  []string // the statements that find out which tables hold an id

	life  context.Context // of what is built behind the back of one query
	end   context.CancelFunc
	built sync.WaitGroup
	mu    struct { // no I/O under it
		sync.Mutex
		side  *legacySideBuild // nil until it is needed
		twice *legacyTwice     // the same
	}
	closing sync.Once
	closed  error
}

// OpenLegacy opens a file of any schema generation. It takes milliseconds and
// a bounded amount of memory whatever the size of the file, and changes
// nothing: neither the file nor its directory. The error is a *LegacyError.
func OpenLegacy(path string) (*Legacy, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// SQLite looks for the -wal beside the file itself, not beside a link to it.
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	g, err := guardLegacy(abs)
	if err != nil {
		return nil, err
	}
	l := &Legacy{path: abs, guard: g, pool: newLegacyPool(abs, g.mode)}
	l.life, l.end = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(l.life, time.Minute)
	defer cancel()
	if err := l.inspect(ctx); err != nil {
		return nil, errors.Join(legacyError(ctx, abs, err), l.Close())
	}
	return l, nil
}

// inspect finds the tables and what their indexes tell at once.
func (l *Legacy) inspect(ctx context.Context) error {
	return l.pool.with(ctx, func(c *conn) error {
		var err error
		if l.tables, err = findLegacyTables(ctx, c, l.path); err != nil {
			return err
		}
		l.kind = legacyKind(l.tables)
		l.holds = legacyHoldsTexts(l.tables)
		for _, t := range l.tables {
			if err := t.measure(ctx, c); err != nil {
				return err
			}
			l.rows += t.rows
		}
		return nil
	})
}

// Path is the absolute path of the file.
func (l *Legacy) Path() string { return l.path }

// Name is the file's name.
func (l *Legacy) Name() string { return filepath.Base(l.path) }

// Generation names the schema: gen0 (no details), gen1 (details inline), gen2
// (details in a table of their own), gen3 (a table for each day); with
// +rollback if an older version wrote beside the tables of each day.
func (l *Legacy) Generation() string { return l.kind }

// Bytes is what the file takes on disk, with its -wal and -shm.
func (l *Legacy) Bytes() int64 { return physicalBytes(l.path, l.path+"-wal", l.path+"-shm") }

// Rows estimates the number of rows from the row ids of the tables: more than
// there are where rows were replaced or deleted. exact is always false.
func (l *Legacy) Rows() (n int64, exact bool) { return l.rows, false }

// Bounds are the row times of the oldest and the newest row, 0 if there is
// none. The newest decides when the file leaves. What the indexes do not tell,
// the rows without finished_at, is read when it is first needed: Prepare.
func (l *Legacy) Bounds(ctx context.Context) (oldest, newest int64, err error) {
	if err := l.guard.check(); err != nil {
		return 0, 0, err
	}
	side, err := l.side(ctx)
	if err != nil {
		return 0, 0, legacyError(ctx, l.path, err)
	}
	oldest, newest = side.oldest, side.newest
	for _, t := range l.tables {
		if t.oldest != 0 && (oldest == 0 || t.oldest < oldest) {
			oldest = t.oldest
		}
		newest = max(newest, t.newest)
	}
	return oldest, newest, nil
}

// Prepare reads what queries need and indexes do not tell: the rows without
// finished_at, tables without an index, ids that are in several tables.
// Queries wait for what they cannot do without; a daemon calls it once, in the
// background.
func (l *Legacy) Prepare(ctx context.Context) error {
	if _, err := l.side(ctx); err != nil {
		return legacyError(ctx, l.path, err)
	}
	s := l.twice()
	if s == nil {
		return errLegacyClosed
	}
	select {
	case <-s.done:
		return legacyError(ctx, l.path, s.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close waits for the readers and lets go of the file.
func (l *Legacy) Close() error {
	l.closing.Do(func() {
		l.end()
		l.built.Wait()
		l.closed = l.pool.close()
		l.mu.Lock()
		b := l.mu.side
		l.mu.Unlock()
		if b != nil && b.side != nil {
			l.closed = errors.Join(l.closed, b.side.close())
		}
		// Last: closing this descriptor drops locks of other connections of
		// this process on the file.
		l.closed = errors.Join(l.closed, l.guard.close())
	})
	return l.closed
}
