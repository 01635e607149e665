package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// openLegacyConn opens a connection that cannot write, and that neither
// creates nor removes anything beside the file.
func openLegacyConn(path string, mode legacyMode) (*conn, error) {
	dsn := fileURI(path, modeImmutable)
	if mode == legacyWithWAL {
		// Without locks and in exclusive mode SQLite keeps the index of the WAL
		// in its own memory instead of in a -shm.
		dsn = fileURI(path, modeRead) + "&vfs=unix-none&_locking_mode=EXCLUSIVE"
	}
	c, err := openDSN(dsn)
	if err != nil {
		return nil, err
	}
	if mode == legacyWithWAL {
		// It believes itself alone, and would delete a -wal that it takes for
		// finished when it closes.
		err = c.c.SetFileControlInt("main", sqlite3.SQLITE_FCNTL_PERSIST_WAL, 1)
	}
	if err == nil {
		// The schema is somebody else's: nothing in it may run more than
		// arithmetic, and a damaged page is an error where it is met.
		err = c.script(fmt.Sprintf("PRAGMA query_only = 1; PRAGMA trusted_schema = 0; PRAGMA cell_size_check = 1; PRAGMA cache_size = -%d", legacyCache))
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// legacyCursor is an open statement of its own: it does not count among the
// connection's prepared ones, which may be closed whenever another is prepared.
type legacyCursor struct {
	stmt driver.Stmt
	rows driver.Rows
}

func openLegacyCursor(ctx context.Context, c *conn, text string, args []driver.Value) (*legacyCursor, error) {
	s, err := c.c.Prepare(text)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", text, err)
	}
	q, ok := s.(driver.StmtQueryContext)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T cannot be interrupted", s), s.Close())
	}
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	r, err := q.QueryContext(ctx, named)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &legacyCursor{s, r}, nil
}

// next reads a row; false at the end.
func (c *legacyCursor) next(vals []driver.Value) (bool, error) { return rows{c.rows}.next(vals) }

func (c *legacyCursor) close() { _, _ = c.rows.Close(), c.stmt.Close() }
