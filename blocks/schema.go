package blocks

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"daybook/tsdb/task"
)

const (
	// applicationID marks Daybook's files: "DayB".
	applicationID = 0x44617942
	// FormatVersion is the user_version of the files written here. Version 1
	// had an index on task_id in sealed files; versions 1 and 2 had an index on
	// the name instead of runs; up to version 3 all hours of a live file were
	// complete; up to version 4 there was no short residue.
	FormatVersion = 5
	// chunkRows is how many rows share one compressed detail chunk.
	chunkRows = 128
)

// The primary key of a row is its time of day in microseconds (37 bits), then
// 26 bits of slot. The natural slot is the top 25 bits of the id's hash; a row
// whose key is taken gets the next free one. The upper half of the slots is
// nobody's natural place, so that displacement never runs into the next
// microsecond, and a displaced row stands in an unbroken run of keys behind
// its natural one.
const (
	slotBits = 26
	hashBits = 25
	timeBits = 37
)

// naturalKey is the key a row has unless it is taken.
func naturalKey(day task.Day, k task.Key) int64 {
	return (k.At-day.Start())<<slotBits | int64(k.Hash>>(64-hashBits))
}

// firstKey is the least key a row of that time can have.
func firstKey(day task.Day, at int64) int64 { return (at - day.Start()) << slotBits }

// keyTime is the row time of a key, in microseconds.
func keyTime(day task.Day, key int64) int64 { return day.Start() + key>>slotBits }

// bindID is the stored form of a task_id: 16 bytes for a canonical UUID, the
// text otherwise. A BLOB never equals a TEXT in SQLite, so that a 16-byte text
// id is not mistaken for a UUID.
func bindID(id string) any {
	if b, ok := task.PackID(id); ok {
		return b[:]
	}
	return id
}

// scanID is the text of a stored task_id.
func scanID(v any) (string, error) {
	switch id := v.(type) {
	case []byte:
		if len(id) == 16 {
			return task.UnpackID(id), nil
		}
	case string:
		if id != "" && utf8.ValidString(id) {
			return id, nil
		}
		return "", fmt.Errorf("%q is no id: %w", id, errRow)
	}
	return "", fmt.Errorf("a stored task_id is %T of the wrong form: %w", v, errRow)
}

// tables are the tables that live and sealed files share. Every statement is
// one that SQLite 3.37 understands. Columns of invocation that hold a time
// hold microseconds before (sent, received, started) or after (updated, eta,
// expires) the row time, which the key tells: small numbers are stored small.
const tables = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE task_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE worker (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, worker_group TEXT NOT NULL) STRICT;
CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE exception (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE state (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE invocation (
  key INTEGER PRIMARY KEY,
  task_id ANY NOT NULL,
  name INTEGER,
  state INTEGER NOT NULL,
  sent INTEGER,
  received INTEGER,
  started INTEGER,
  updated INTEGER,
  runtime INTEGER,
  worker INTEGER,
  queue INTEGER,
  exception INTEGER,
  retries INTEGER,
  detail INTEGER,
  root ANY,
  parent ANY,
  eta INTEGER,
  expires INTEGER,
  truncated INTEGER,
  given_up INTEGER,
  residue BLOB
) STRICT;
CREATE TABLE chunk (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE word_page (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE word_group (
  id INTEGER PRIMARY KEY,
  page INTEGER NOT NULL,
  pages INTEGER NOT NULL,
  low INTEGER NOT NULL,
  high INTEGER NOT NULL,
  text_ids INTEGER NOT NULL,
  spans BLOB NOT NULL
) STRICT;
CREATE TABLE cut (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE moved (task_id ANY, from_day INTEGER, cut INTEGER NOT NULL, PRIMARY KEY (task_id, from_day)) STRICT, WITHOUT ROWID;
`

// nameTables have the runs by which the rows of a name are found.
const nameTables = `
CREATE TABLE name_run (run INTEGER PRIMARY KEY, level INTEGER NOT NULL, page INTEGER NOT NULL, pages INTEGER NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL) STRICT;
CREATE TABLE name_page (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
`

// rowIndexes are the secondary indexes on invocation: the unfinished and failed
// rows by state, alone and within a name. Live files have them from the start,
// sealed files get them built in bulk.
const rowIndexes = `
CREATE INDEX invocation_state ON invocation (state) WHERE state <> 8;
CREATE INDEX invocation_name_state ON invocation (name, state) WHERE state <> 8;
`

// liveTables exist in live files only: sorted runs of (hash, key) by which ids
// are found, and the ids whose sealed rows the overlay hides.
const liveTables = `
CREATE TABLE id_page (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, level INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE mask (task_id ANY PRIMARY KEY) STRICT, WITHOUT ROWID;
`

// sealedTables exist in sealed files only: the id filter, the rows by the hash
// of their id, and which files and cuts the sealed file replaces.
const sealedTables = `
CREATE TABLE id_filter (page INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
CREATE TABLE id_index (page INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE absorbed (file TEXT PRIMARY KEY, last_cut INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

// viewSQL is the view for people with a sqlite3 CLI: every column that is not
// in a compressed chunk, as text and numbers that read well.
func viewSQL(day task.Day) string {
	at := func(us string) string {
		return fmt.Sprintf("strftime('%%Y-%%m-%%dT%%H:%%M:%%S', (%[1]s) / 1000000, 'unixepoch') || printf('.%%06dZ', (%[1]s) %% 1000000)", us)
	}
	row := fmt.Sprintf("(%d + (i.key >> %d))", day.Start(), slotBits)
	id := func(col string) string {
		h := "lower(hex(" + col + "))"
		return fmt.Sprintf("CASE typeof(%[1]s) WHEN 'blob' THEN substr(%[2]s,1,8)||'-'||substr(%[2]s,9,4)||'-'||substr(%[2]s,13,4)||'-'||substr(%[2]s,17,4)||'-'||substr(%[2]s,21) ELSE %[1]s END", col, h)
	}
	cols := []string{
		id("i.task_id") + " AS task_id",
		"n.name AS task_name",
		"s.name AS state",
		at(row+" - i.sent") + " AS sent_at",
		at(row+" - i.received") + " AS received_at",
		at(row+" - i.started") + " AS started_at",
		fmt.Sprintf("CASE WHEN i.state BETWEEN %d AND %d THEN %s END AS finished_at", task.StateRejected, task.StateSuccess, at(row)),
		// Of what was given up unfinished: when that was, unless an event came later.
		"CASE WHEN i.updated IS NULL OR i.given_up IS NOT NULL AND i.updated < 0 THEN " + at(row) + " ELSE " + at(row+" + i.updated") + " END AS updated_at",
		"i.runtime / 1000.0 AS runtime_ms",
		"w.name AS worker",
		"w.worker_group AS worker_group",
		"q.name AS queue",
		"e.name AS exception_type",
		"ifnull(i.retries, 0) AS retries",
		at(row+" + i.eta") + " AS eta",
		at(row+" + i.expires") + " AS expires",
		"CASE WHEN i.root = x'' THEN " + id("i.task_id") + " ELSE " + id("i.root") + " END AS root_id",
		id("i.parent") + " AS parent_id",
		"i.given_up IS NOT NULL AS given_up",
	}
	return "CREATE VIEW invocations AS SELECT\n  " + strings.Join(cols, ",\n  ") + `
FROM invocation AS i
LEFT JOIN task_name AS n ON n.id = i.name
LEFT JOIN state AS s ON s.id = i.state
LEFT JOIN worker AS w ON w.id = i.worker
LEFT JOIN queue AS q ON q.id = i.queue
LEFT JOIN exception AS e ON e.id = i.exception;`
}

// stateRows fills the state table, for readers of the view.
func stateRows() string {
	rows := make([]string, len(task.States))
	for i, s := range task.States {
		rows[i] = fmt.Sprintf("(%d, '%s')", s, s)
	}
	return "INSERT INTO state (id, name) VALUES " + strings.Join(rows, ", ") + ";"
}
