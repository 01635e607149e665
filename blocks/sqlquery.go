package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// register makes the functions known that the view calls.
func (s *SQL) register() error {
	err := s.c.c.RegisterFunc("daybook_detail", func(slot, detail, field int64) (any, error) {
		if slot < 0 || slot >= int64(len(s.arms)) || detail < 0 || field < 0 || field >= chunkFields {
			return nil, errors.New("there is no such detail")
		}
		a := s.arms[slot]
		// Not the query's context: a context that can end makes the driver
		// wait for SQLite, which waits for this function.
		t, err := a.chunks.texts(context.Background(), s.c, a.schema, detail)
		if err != nil || t[field] == "" {
			return nil, err
		}
		return t[field], nil
	}, true)
	if err != nil {
		return err
	}
	if err := s.filterLive(context.Background()); err != nil {
		return err
	}
	return s.c.c.RegisterFunc("daybook_legacy", func(file, table, row, col int64) (any, error) {
		if file < 0 || file >= int64(len(s.old)) {
			return nil, errors.New("there is no such file")
		}
		return s.old[file].column(table, row, col)
	}, true)
}

// sqlPragmas are those that tell of the schema and change nothing.
var sqlPragmas = map[string]bool{
	"table_info": true, "table_xinfo": true, "table_list": true, "index_list": true, "index_info": true, "index_xinfo": true,
	"database_list": true, "function_list": true, "collation_list": true, "compile_options": true,
}

// sqliteRecursive is SQLITE_RECURSIVE: a common table expression that is.
const sqliteRecursive = 33

// authorize lets a statement read, and nothing else. query_only, mode=ro and
// immutable would each refuse a write by themselves; none of them refuses
// ATTACH, which creates files.
func authorize(op int, a, _, _ string) int {
	switch op {
	case sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqliteRecursive:
		return sqlite3.SQLITE_OK
	case sqlite3.SQLITE_PRAGMA:
		if sqlPragmas[strings.ToLower(a)] {
			return sqlite3.SQLITE_OK
		}
	}
	return sqlite3.SQLITE_DENY
}

// SQLError is an error of a statement.
type SQLError struct{ text string }

func (e *SQLError) Error() string { return e.text }

// SQLRows are the rows of a query.
type SQLRows struct {
	s    *SQL
	ctx  context.Context
	stmt driver.Stmt
	r    driver.Rows
	vals []driver.Value
}

// Query runs one statement that reads; ctx interrupts it. The error is a
// *SQLError if the statement is to blame.
func (s *SQL) Query(ctx context.Context, text string) (*SQLRows, error) {
	if err := oneStatement(text); err != nil {
		return nil, err
	}
	stmt, err := s.c.c.Prepare(text)
	if err != nil {
		return nil, s.sqlError(ctx, err)
	}
	q, ok := stmt.(driver.StmtQueryContext)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T cannot be interrupted", stmt), stmt.Close())
	}
	if n := stmt.NumInput(); n > 0 {
		return nil, errors.Join(&SQLError{fmt.Sprintf("the statement has %d parameters (?), and there are no values for them", n)}, stmt.Close())
	}
	r, err := q.QueryContext(ctx, nil)
	if err != nil {
		return nil, errors.Join(s.sqlError(ctx, err), stmt.Close())
	}
	return &SQLRows{s: s, ctx: ctx, stmt: stmt, r: r, vals: make([]driver.Value, len(r.Columns()))}, nil
}

// Columns are the names of the columns.
func (r *SQLRows) Columns() []string { return r.r.Columns() }

// Next is the next row, nil at the end. It is valid until the next call; the
// values are nil, int64, float64, string, []byte, or what the driver makes of
// a column that is declared to hold times or truths.
func (r *SQLRows) Next() ([]driver.Value, error) {
	switch err := r.r.Next(r.vals); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, r.s.sqlError(r.ctx, err)
	}
	return r.vals, nil
}

// Close ends the query.
func (r *SQLRows) Close() error { return errors.Join(r.r.Close(), r.stmt.Close()) }

// sqlError says what SQLite said, by whose fault it was.
func (s *SQL) sqlError(ctx context.Context, err error) error {
	var se sqlite3.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &se):
		return err
	case se.Code == sqlite3.ErrAuth || se.Code == sqlite3.ErrReadonly:
		return &SQLError{"only reading is possible here: " + err.Error()}
	case se.Code == sqlite3.ErrError:
		return &SQLError{err.Error()}
	}
	return err
}

// oneStatement refuses what is not exactly one statement: the driver would run
// the first of several and say nothing of the others.
func oneStatement(text string) error {
	if strings.IndexByte(text, 0) >= 0 {
		return &SQLError{"the statement has a NUL byte in it"}
	}
	begun, ended := false, false
	for i := 0; i < len(text); {
		c := text[i]
		n := 1
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
			continue
		case strings.HasPrefix(text[i:], "--"):
			n = until(text[i:], 2, "\n")
			i += n
			continue
		case strings.HasPrefix(text[i:], "/*"):
			n = until(text[i:], 2, "*/")
			i += n
			continue
		case c == ';':
			ended = ended || begun
			i++
			continue
		case c == '\'' || c == '"' || c == '`':
			n = until(text[i:], 1, string(c)) // a doubled quote begins anew
		case c == '[':
			n = until(text[i:], 1, "]")
		}
		if ended {
			return &SQLError{"one statement at a time"}
		}
		begun = true
		i += n
	}
	if !begun {
		return &SQLError{"there is no statement"}
	}
	return nil
}

// until is how long a piece of text is that ends with an end after from.
func until(s string, from int, end string) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}
