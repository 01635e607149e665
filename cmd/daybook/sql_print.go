package main

import (
	"bufio"
	"database/sql/driver"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"daybook/tsdb/task"
)

// sqlPrinter prints rows of any columns. Errors of writing stay in its writer.
type sqlPrinter interface {
	row(vals []driver.Value)
	end()
}

// newSQLPrinter begins an output. first is the first row, nil if there is none.
func newSQLPrinter(format string, w *bufio.Writer, names []string, first []driver.Value) sqlPrinter {
	switch format {
	case "csv":
		p := &sqlCSV{csv.NewWriter(w)}
		p.w.Write(names)
		return p
	case "table":
		return newSQLTable(w, names, first)
	}
	p := &sqlJSON{w: w, array: format == "json"}
	for _, name := range uniqueNames(names) {
		p.keys = append(p.keys, string(append(task.AppendJSONString(nil, name), ':')))
	}
	return p
}

// uniqueNames tells columns of one name apart, as SQLite does: a JSON object
// has each name once.
func uniqueNames(names []string) []string {
	seen := map[string]bool{}
	out := make([]string, len(names))
	for i, name := range names {
		unique := name
		for n := 1; seen[unique]; n++ {
			unique = fmt.Sprintf("%s:%d", name, n)
		}
		seen[unique], out[i] = true, unique
	}
	return out
}

// sqlText is a value as text, NULL as null says.
func sqlText(v driver.Value, null string) string {
	switch x := v.(type) {
	case nil:
		return null
	case string:
		return x
	case []byte:
		if x == nil {
			return null
		}
		return fmt.Sprintf("x'%x'", x)
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		if math.Abs(x) < 1e15 {
			return strconv.FormatFloat(x, 'f', -1, 64)
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(x)
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

type sqlCSV struct{ w *csv.Writer }

func (p *sqlCSV) row(vals []driver.Value) {
	cells := make([]string, len(vals))
	for i, v := range vals {
		cells[i] = sqlText(v, "")
	}
	p.w.Write(cells)
	p.w.Flush() // into the buffer below
}

func (p *sqlCSV) end() { p.w.Flush() }

// sqlTable prints aligned columns. maxCell is how much of a value it shows.
type sqlTable struct {
	c *columns
}

const maxCell = 200

func newSQLTable(w *bufio.Writer, names []string, first []driver.Value) *sqlTable {
	header := make([]string, len(names))
	for i, name := range names {
		header[i] = clipCell(strings.TrimLeft(name, ">"))
		if first == nil {
			continue
		}
		switch first[i].(type) {
		case int64, float64:
			header[i] = ">" + header[i]
		}
	}
	return &sqlTable{newColumns(w, header...)}
}

func clipCell(s string) string {
	if utf8.RuneCountInString(s) <= maxCell {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == maxCell {
			return s[:i] + "…"
		}
	}
	return s
}

func (p *sqlTable) row(vals []driver.Value) {
	cells := make([]string, len(vals))
	for i, v := range vals {
		cells[i] = clipCell(sqlText(v, "NULL"))
	}
	p.c.row(cells...)
}

func (p *sqlTable) end() { p.c.flush() }

// sqlJSON prints an object a row: lines, or the elements of one array.
type sqlJSON struct {
	w     *bufio.Writer
	array bool
	some  bool
	keys  []string
	buf   []byte
}

func (p *sqlJSON) row(vals []driver.Value) {
	b := p.buf[:0]
	switch {
	case p.array && p.some:
		b = append(b, ",\n"...)
	case p.array:
		b = append(b, '[')
	}
	p.some = true
	b = append(b, '{')
	for i, v := range vals {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, p.keys[i]...)
		switch x := v.(type) {
		case int64, bool:
			b = append(b, sqlText(x, "")...)
		case float64:
			if math.IsInf(x, 0) || math.IsNaN(x) {
				b = append(b, "null"...)
			} else {
				b = append(b, sqlText(x, "")...)
			}
		case nil:
			b = append(b, "null"...)
		default:
			b = task.AppendJSONString(b, sqlText(v, ""))
		}
	}
	b = append(b, '}')
	if !p.array {
		b = append(b, '\n')
	}
	p.buf = b
	p.w.Write(b)
}

func (p *sqlJSON) end() {
	switch {
	case p.array && p.some:
		p.w.WriteString("]\n")
	case p.array:
		p.w.WriteString("[]\n")
	}
}
