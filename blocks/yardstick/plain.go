package yardstick

import (
	"database/sql/driver"
	"strings"

	"daybook/tsdb/task"
)

const (
	plainColumns = 19
	plainRows    = 32 // of one statement; more cost the same a row
)

// Pages of 8 KiB, a larger cache and fewer checkpoints than by default: each
// makes it faster.
var plain = layout{
	schema: `PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=4096; PRAGMA cache_size=-16000;
CREATE TABLE invocations (key INTEGER PRIMARY KEY, task_id BLOB, root_id BLOB, name INTEGER, state INTEGER, sent INTEGER, received INTEGER,
  started INTEGER, finished INTEGER, runtime INTEGER, worker INTEGER, queue INTEGER, retries INTEGER, exception TEXT,
  args TEXT, kwargs TEXT, result TEXT, message TEXT, traceback TEXT);`,
	insert: insertPlain,
}

var plainMany, plainOne = plainInsert(plainRows), plainInsert(1)

func plainInsert(rows int) string {
	one := "(?" + strings.Repeat(",?", plainColumns-1) + ")"
	return "INSERT INTO invocations VALUES " + one + strings.Repeat(","+one, rows-1)
}

func insertPlain(t *Table, invs []*task.Invocation) error {
	vals := make([]driver.Value, 0, plainRows*plainColumns)
	for i, v := range invs {
		t.key++
		vals = t.appendPlain(vals, v)
		text := plainMany
		if len(invs)-i <= len(invs)%plainRows { // the rest, one by one
			text = plainOne
		}
		if text == plainOne || len(vals) == cap(vals) {
			if err := t.exec(text, vals...); err != nil {
				return err
			}
			vals = vals[:0]
		}
	}
	return nil
}

// appendPlain adds the values of a row. Names are the numbers that a dictionary
// might give them.
func (t *Table) appendPlain(vals []driver.Value, v *task.Invocation) []driver.Value {
	id := driver.Value(v.TaskID)
	if raw, ok := task.PackID(v.TaskID); ok {
		id = raw[:]
	}
	root := id
	if v.RootID != v.TaskID {
		root = v.RootID
	}
	o := &v.Outcome
	return append(vals, t.key, id, root, int64(3), int64(v.State), v.SentAt, v.ReceivedAt, v.StartedAt, v.FinishedAt, o.Runtime,
		int64(len(v.Worker)), int64(len(v.Queue)), int64(v.Retries), orNull(o.ExceptionType),
		v.Args, v.Kwargs, orNull(o.Result), orNull(o.ExceptionMessage), orNull(o.Traceback))
}
