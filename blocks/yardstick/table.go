package yardstick

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/mattn/go-sqlite3"

	"daybook/tsdb/task"
)

// Table is a database file of one of the layouts. It is not safe for
// concurrent use.
type Table struct {
	layout layout
	path   string
	c      *sqlite3.SQLiteConn
	stmts  map[string]*sqlite3.SQLiteStmt
	key    int64 // of the last row, of Plain
	args   []driver.NamedValue
}

// layout is how rows are kept.
type layout struct {
	schema string
	insert func(t *Table, invs []*task.Invocation) error
}

// Ancestor creates a file of the ancestor's layout.
func Ancestor(path string) (*Table, error) { return create(path, ancestor) }

// Plain creates a file that is only appended to.
func Plain(path string) (*Table, error) { return create(path, plain) }

func create(path string, l layout) (*Table, error) {
	u := url.URL{Scheme: "file", Path: path, OmitHost: true, RawQuery: "mode=rwc&_synchronous=FULL&_txlock=immediate"}
	c, err := (&sqlite3.SQLiteDriver{}).Open(u.String())
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	sc, ok := c.(*sqlite3.SQLiteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the SQLite driver opened a %T", c), c.Close())
	}
	t := &Table{layout: l, path: path, c: sc, stmts: map[string]*sqlite3.SQLiteStmt{}}
	if _, err := sc.Exec(l.schema, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("creating %s: %w", path, err), t.Close())
	}
	return t, nil
}

// Write stores rows in one transaction.
func (t *Table) Write(invs []*task.Invocation) error {
	if err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := t.layout.insert(t, invs); err != nil {
		return errors.Join(err, t.exec("ROLLBACK"))
	}
	return t.exec("COMMIT")
}

// Checkpoint copies the write-ahead log into the file.
func (t *Table) Checkpoint() error { return t.exec("PRAGMA wal_checkpoint(TRUNCATE)") }

// Bytes is the size of the file and its write-ahead log.
func (t *Table) Bytes() int64 {
	var n int64
	for _, path := range []string{t.path, t.path + "-wal"} {
		if info, err := os.Stat(path); err == nil {
			n += info.Size()
		}
	}
	return n
}

// Close closes the file, which stays.
func (t *Table) Close() error {
	var errs []error
	for _, s := range t.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, t.c.Close())...)
}

func (t *Table) prepare(sql string) (*sqlite3.SQLiteStmt, error) {
	if s := t.stmts[sql]; s != nil {
		return s, nil
	}
	p, err := t.c.Prepare(sql)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", sql, err)
	}
	s, ok := p.(*sqlite3.SQLiteStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the SQLite driver prepared a %T", p), p.Close())
	}
	t.stmts[sql] = s
	return s, nil
}

// exec runs a statement that returns no rows, through QueryContext, which binds
// and steps in one crossing into C as package blocks does.
func (t *Table) exec(sql string, args ...driver.Value) error {
	return t.execNamed(sql, t.named(args))
}

func (t *Table) execNamed(sql string, args []driver.NamedValue) error {
	s, err := t.prepare(sql)
	if err != nil {
		return err
	}
	r, err := s.QueryContext(context.Background(), args)
	if err != nil {
		return err
	}
	return r.Close()
}

// named gives arguments their numbers, in memory that is used again.
func (t *Table) named(args []driver.Value) []driver.NamedValue {
	for len(t.args) < len(args) {
		t.args = append(t.args, driver.NamedValue{Ordinal: len(t.args) + 1})
	}
	for i, a := range args {
		t.args[i].Value = a
	}
	return t.args[:len(args)]
}

// count reads a query to its end and returns the number of rows.
func (t *Table) count(sql string, args ...driver.Value) (n int, err error) {
	s, err := t.prepare(sql)
	if err != nil {
		return 0, err
	}
	r, err := s.QueryContext(context.Background(), t.named(args))
	if err != nil {
		return 0, err
	}
	vals := make([]driver.Value, len(r.Columns()))
	for {
		switch err := r.Next(vals); {
		case errors.Is(err, io.EOF):
			return n, r.Close()
		case err != nil:
			return n, errors.Join(err, r.Close())
		}
		n++
	}
}

// Scan reads every row and returns their number.
func (t *Table) Scan() (int, error) { return t.count("SELECT * FROM invocations") }
