package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// This file is the one door to SQLite. The driver is used directly, not
// through database/sql: an attach set, a prepared statement and a transaction
// belong to one connection, and a point query costs a fifth
// (docs/adr/0004-block-format.md).

// SQLiteVersion is the version of the SQLite that is linked in.
func SQLiteVersion() string { v, _, _ := sqlite3.Version(); return v }

// AttachLimit is how many files one connection can attach: 10 in a plain
// build, up to 125 when SQLite was compiled so.
func AttachLimit() (int, error) {
	c, err := openMemory()
	if err != nil {
		return 0, err
	}
	defer c.close()
	return c.attachLimit(), nil
}

// conn is one SQLite connection with its prepared statements. It is not safe
// for concurrent use.
type conn struct {
	c     *sqlite3.SQLiteConn
	stmts map[string]*sqlite3.SQLiteStmt
}

// fileMode says how a file is opened.
type fileMode string

const (
	modeCreate    fileMode = "rwc"
	modeWrite     fileMode = "rw"
	modeRead      fileMode = "ro"
	modeImmutable fileMode = "immutable" // ro, and nobody changes the file: no locks, no stat
)

// fileURI is the URI of a file. A path with URI characters in it is escaped.
func fileURI(path string, mode fileMode) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path}
	if !strings.HasPrefix(path, "/") {
		u = url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	}
	if mode == modeImmutable {
		u.RawQuery = "mode=ro&immutable=1"
	} else {
		u.RawQuery = "mode=" + string(mode)
	}
	return u.String()
}

// openFile opens a database file as the main schema. Writers commit with
// synchronous=FULL: a cut that returned is on disk.
func openFile(path string, mode fileMode) (*conn, error) {
	return openDSN(fileURI(path, mode) + "&_synchronous=FULL&_busy_timeout=" + strconv.Itoa(busyMillis) + "&_txlock=immediate")
}

// openMemory opens a connection to which files can be attached.
func openMemory() (*conn, error) {
	return openDSN("file::memory:?_busy_timeout=" + strconv.Itoa(busyMillis))
}

// busyMillis is how long a statement waits for a lock that another connection
// has: a sqlite3 CLI beside a live file, most likely.
const busyMillis = 10_000

func openDSN(dsn string) (*conn, error) {
	// A connection has one user at a time: SQLite need not lock it for every
	// value that is bound or read, which is 6 % of a cut.
	c, err := (&sqlite3.SQLiteDriver{}).Open(dsn + "&_mutex=no")
	if err != nil {
		return nil, err
	}
	sc, ok := c.(*sqlite3.SQLiteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the SQLite driver opened a %T", c), c.Close())
	}
	return &conn{c: sc, stmts: map[string]*sqlite3.SQLiteStmt{}}, nil
}

func (c *conn) attachLimit() int { return c.c.GetLimit(sqlite3.SQLITE_LIMIT_ATTACHED) }

// prepare returns the connection's prepared statement for a text. Texts are
// few: they differ by schema name and filter shape, never by value.
func (c *conn) prepare(sql string) (*sqlite3.SQLiteStmt, error) {
	if s := c.stmts[sql]; s != nil {
		return s, nil
	}
	if len(c.stmts) >= 256 {
		c.forget()
	}
	s, err := c.c.Prepare(sql)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", sql, err)
	}
	c.stmts[sql] = s.(*sqlite3.SQLiteStmt)
	return c.stmts[sql], nil
}

// forget closes the prepared statements.
func (c *conn) forget() {
	for text, s := range c.stmts {
		s.Close()
		delete(c.stmts, text)
	}
}

// script runs statements without arguments, once.
func (c *conn) script(sql string) error {
	_, err := c.c.Exec(sql, nil)
	return err
}

// exec runs a prepared statement that returns no rows. It goes through
// QueryContext, which binds and steps in one crossing into C.
func (c *conn) exec(sql string, args ...driver.Value) error {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return c.execNamed(sql, named)
}

// execNamed is exec with arguments that the caller reuses.
func (c *conn) execNamed(sql string, args []driver.NamedValue) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	r, err := s.QueryContext(context.Background(), args)
	if err != nil {
		return err
	}
	return r.Close()
}

// run runs one statement without arguments that may take long; ctx interrupts it.
func (c *conn) run(ctx context.Context, sql string) error {
	_, err := c.queryRow(ctx, nil, sql)
	return err
}

// rows are the rows of a query; close them before the next use of their text.
type rows struct{ r driver.Rows }

// query runs a prepared statement; ctx interrupts it.
func (c *conn) query(ctx context.Context, sql string, args ...driver.Value) (rows, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return rows{}, err
	}
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	r, err := s.QueryContext(ctx, named)
	if err != nil {
		return rows{}, err
	}
	return rows{r}, nil
}

// next reads one row; false at the end or with an error.
func (r rows) next(vals []driver.Value) (bool, error) {
	switch err := r.r.Next(vals); {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

func (r rows) close() error { return r.r.Close() }

// queryRow reads the first row into vals; false if there is none.
func (c *conn) queryRow(ctx context.Context, vals []driver.Value, sql string, args ...driver.Value) (bool, error) {
	r, err := c.query(ctx, sql, args...)
	if err != nil {
		return false, err
	}
	ok, err := r.next(vals)
	return ok, errors.Join(err, r.close())
}

// scripts runs statements, one after the other, as run does.
func (c *conn) scripts(ctx context.Context, sql string) error {
	for _, one := range strings.Split(sql, ";") {
		if strings.TrimSpace(one) == "" {
			continue
		}
		if err := c.run(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// each runs a query and calls fn with the n columns of every row; the values
// are valid until fn returns. fn must not run the same text again.
func (c *conn) each(ctx context.Context, n int, fn func([]driver.Value) error, sql string, args ...driver.Value) error {
	r, err := c.query(ctx, sql, args...)
	if err != nil {
		return err
	}
	vals := make([]driver.Value, n)
	for {
		ok, err := r.next(vals)
		if ok {
			err = fn(vals)
		}
		if !ok || err != nil {
			return errors.Join(err, r.close())
		}
	}
}

// transaction runs fn inside BEGIN IMMEDIATE and COMMIT. When it returns an
// error nothing of it is in the file.
func (c *conn) transaction(fn func() error) error {
	return c.transactionOf("BEGIN IMMEDIATE", fn)
}

// transactionOf is transaction with another BEGIN, for reading.
func (c *conn) transactionOf(begin string, fn func() error) error {
	if err := c.exec(begin); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = c.exec("COMMIT")
	}
	// SQLite has rolled back by itself after a full disk or an I/O error.
	if err != nil && !c.c.AutoCommit() {
		err = errors.Join(err, c.exec("ROLLBACK"))
	}
	return err
}

func (c *conn) close() error {
	c.forget()
	return c.c.Close()
}
