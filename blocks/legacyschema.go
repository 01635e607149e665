package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"time"

	"daybook/tsdb/task"
)

// legacyTable is one table of invocations. Nothing in a legacy file names its
// generation, so that every table is taken by what its columns and indexes are.
type legacyTable struct {
	n     int    // index in Legacy.tables
	name  string // quoted
	plain string // as it is
	day   task.Day
	dated bool // a table of one day

	columns  map[string]bool // those of legacyColumns that are there
	byTime   string          // quoted index by finished_at, "" if there is none
	byName   string          // quoted index by task_name, finished_at
	byID     string          // quoted unique index by task_id
	inline   bool            // details are columns
	details  string          // quoted table of details, "" if there is none
	detailID string          // its index by task_id

	oldest, newest int64 // of the rows that byTime finds; 0 if there are none
	odd            bool  // some finished_at are neither absent nor a time
	rows           int64 // estimated
	firstRow       int64 // the lowest row id
}

const (
	// maxLegacyTables is far above a table a day for years.
	maxLegacyTables = 2000
	legacyPlainName = "invocations"
	legacyOldName   = "invocations_legacy"
	legacyDetails   = "invocation_details"
)

// legacyColumns are the columns that are read. The first four have to be
// there; a generation that lacks another one has nothing to say about it.
var legacyColumns = []string{"task_id", "task_name", "state", "finished_at", "received_at", "started_at", "runtime_ms", "worker", "queue", "exception_type"}

const legacyRequired = 4

var legacyDetailColumns = []string{"args_preview", "kwargs_preview", "traceback_snippet"}

// legacyIndex is what is known of an index.
type legacyIndex struct {
	name    string
	unique  bool
	partial bool
	columns []string // of its key; "" for what is no plain column by bytes
}

// by reports whether the index begins with columns.
func (x *legacyIndex) by(columns ...string) bool {
	return !x.partial && len(x.columns) >= len(columns) && slices.Equal(x.columns[:len(columns)], columns)
}

// legacySchema is a file's schema as far as it may be ours: by table name.
type legacySchema struct {
	kind    map[string]string // table, view, virtual, …
	noRowID map[string]bool
	columns map[string]map[string]string // column: affinity
	indexes map[string][]*legacyIndex
}

// findLegacyTables returns the tables of invocations in the order in which the
// old program looked an id up: days from the newest, then the undated.
func findLegacyTables(ctx context.Context, c *conn, path string) ([]*legacyTable, error) {
	s, err := readLegacySchema(ctx, c)
	if err != nil {
		return nil, err
	}
	var tables []*legacyTable
	for name, kind := range s.kind {
		t := &legacyTable{plain: name, name: quoteLegacy(name)}
		if !t.named() || kind != "table" {
			continue // a view is not data
		}
		if err := s.describe(t, path); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	if len(tables) == 0 {
		return nil, notPhlower(path, "it has no table of invocations")
	}
	slices.SortFunc(tables, func(a, b *legacyTable) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(b.day, a.day))
	})
	for n, t := range tables {
		t.n = n
	}
	return tables, nil
}

func (t *legacyTable) order() int {
	switch {
	case t.dated:
		return 0
	case t.plain == legacyPlainName:
		return 1
	}
	return 2
}

// named reports whether the table has a name that the old program gives, and
// notes its day.
func (t *legacyTable) named() bool {
	if t.plain == legacyPlainName || t.plain == legacyOldName {
		return true
	}
	digits, ok := strings.CutPrefix(t.plain, legacyPlainName+"_")
	if !ok {
		return false
	}
	at, err := time.Parse("20060102", digits)
	if err != nil || at.UnixMicro() <= 0 {
		return false
	}
	t.day, t.dated = task.DayOf(at.UnixMicro()), true
	return true
}

// describe fills in what a table's columns and indexes are.
func (s *legacySchema) describe(t *legacyTable, path string) error {
	if s.noRowID[t.plain] {
		return notPhlower(path, "table %s has no row ids", t.plain)
	}
	t.columns = map[string]bool{}
	for i, name := range legacyColumns {
		affinity, there := s.columns[t.plain][name]
		if !there && i < legacyRequired {
			return notPhlower(path, "table %s has no column %s", t.plain, name)
		}
		t.columns[name] = there
		number := affinity == "REAL" || affinity == "NUMERIC" || affinity == "INTEGER"
		if i < legacyRequired && (name == "finished_at" && !number || name != "finished_at" && affinity != "TEXT") {
			return notPhlower(path, "column %s of table %s is of the wrong type", name, t.plain)
		}
	}
	if _, there := s.columns[t.plain]["_rowid_"]; there {
		return notPhlower(path, "table %s hides its row ids", t.plain)
	}
	t.inline = s.hasDetails(t.plain)
	for _, x := range s.indexes[t.plain] {
		switch {
		case x.unique && x.by("task_id") && len(x.columns) == 1:
			t.byID = quoteLegacy(x.name)
		case x.by("finished_at"):
			t.byTime = quoteLegacy(x.name)
		case x.by("task_name", "finished_at"):
			t.byName = quoteLegacy(x.name)
		}
	}
	if t.byID == "" {
		return notPhlower(path, "in table %s task_id is not a key", t.plain)
	}
	if t.byTime == "" {
		t.byName = "" // one rule for the whole table: legacyside.go
	}
	name := legacyDetails + strings.TrimPrefix(t.plain, legacyPlainName)
	if s.kind[name] != "table" || !s.hasDetails(name) {
		return nil
	}
	for _, x := range s.indexes[name] {
		if x.unique && x.by("task_id") {
			t.details, t.detailID = quoteLegacy(name), quoteLegacy(x.name)
		}
	}
	return nil
}

func (s *legacySchema) hasDetails(table string) bool {
	for _, name := range legacyDetailColumns {
		if _, there := s.columns[table][name]; !there {
			return false
		}
	}
	return true
}

// readLegacySchema asks SQLite for what there is, in three statements whatever
// the number of tables.
func readLegacySchema(ctx context.Context, c *conn) (*legacySchema, error) {
	s := &legacySchema{kind: map[string]string{}, noRowID: map[string]bool{}, columns: map[string]map[string]string{}, indexes: map[string][]*legacyIndex{}}
	const ours = `m.name >= 'invocation' AND m.name < 'invocatioo'`
	var v legacyTexts
	n := 0
	err := c.each(ctx, 3, func(vals []driver.Value) error {
		if n++; n > 2*maxLegacyTables {
			return fmt.Errorf("it has more than %d tables", 2*maxLegacyTables)
		}
		name := v.text(vals[0])
		s.kind[name], s.noRowID[name] = v.text(vals[1]), vals[2] != int64(0)
		s.columns[name] = map[string]string{}
		return nil
	}, `SELECT m.name, m.type, m.wr FROM pragma_table_list AS m WHERE m.schema = 'main' AND `+ours)
	if err != nil {
		return nil, err
	}
	err = c.each(ctx, 3, func(vals []driver.Value) error {
		if columns := s.columns[v.text(vals[0])]; columns != nil {
			columns[strings.ToLower(v.text(vals[1]))] = legacyAffinity(v.text(vals[2]))
		}
		return nil
	}, `SELECT m.name, x.name, x.type FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS x WHERE m.type = 'table' AND `+ours)
	if err != nil {
		return nil, err
	}
	var last *legacyIndex
	err = c.each(ctx, 6, func(vals []driver.Value) error {
		table, name := v.text(vals[0]), v.text(vals[1])
		if last == nil || last.name != name {
			last = &legacyIndex{name: name, unique: vals[2] != int64(0), partial: vals[3] != int64(0)}
			s.indexes[table] = append(s.indexes[table], last)
		}
		column := strings.ToLower(v.text(vals[4]))
		if v.text(vals[5]) != "BINARY" {
			column = ""
		}
		last.columns = append(last.columns, column)
		return nil
	}, `SELECT m.name, l.name, l."unique", l.partial, x.name, x.coll FROM sqlite_master AS m, pragma_index_list(m.name) AS l, pragma_index_xinfo(l.name) AS x`+
		` WHERE m.type = 'table' AND `+ours+` AND x.key = 1 ORDER BY m.name, l.seq, x.seqno`)
	return s, err
}

// legacyAffinity is SQLite's rule by which a declared type says how values are kept.
func legacyAffinity(declared string) string {
	d := strings.ToUpper(declared)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(d, w) })
	}
	switch {
	case has("INT"):
		return "INTEGER"
	case has("CHAR", "CLOB", "TEXT"):
		return "TEXT"
	case d == "" || has("BLOB"):
		return "BLOB"
	case has("REAL", "FLOA", "DOUB"):
		return "REAL"
	}
	return "NUMERIC"
}

func quoteLegacy(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// legacyKind names the generation by the tables that there are.
func legacyKind(tables []*legacyTable) string {
	days, plain, old := 0, 0, 0
	details, inline := false, false
	for _, t := range tables {
		switch {
		case t.dated:
			days++
		case t.plain == legacyPlainName:
			plain++
		default:
			old++
		}
		details, inline = details || t.details != "", inline || t.inline
	}
	switch {
	case days+old > 0 && plain > 0:
		return "gen3+rollback"
	case days+old > 0:
		return "gen3"
	case details:
		return "gen2"
	case inline:
		return "gen1"
	}
	return "gen0"
}
