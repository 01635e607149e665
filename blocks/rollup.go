package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// The table rollup holds what docs/format/rollup.md describes: rollups of a task
// name by minute, hour or day. gone 1 are rows that were counted and are not
// there any more; a reader subtracts them. name is the id in task_name up to
// maxRollupNames, 0 for all names beyond.
const (
	rollupColumns = "width INTEGER, name INTEGER, start INTEGER, gone INTEGER, data BLOB NOT NULL"
	// A cut changes the present minutes and hours of all names: in a live file they
	// stand together.
	liveRollups = "CREATE TABLE rollup (" + rollupColumns + ",\n  PRIMARY KEY (width, start, name, gone)) STRICT, WITHOUT ROWID;\n"
	// In a sealed file most are longer than the 1002 bytes that a page of an index
	// keeps of a row: seven bytes for each of a million invocations were empty.
	sealedRollups = "CREATE TABLE rollup (" + rollupColumns + ") STRICT;\n" +
		"CREATE UNIQUE INDEX rollup_place ON rollup (width, name, start, gone);\n"
)

// maxRollupNames bounds the names of a day that are counted apart: clients can
// invent names without end. Ids are given in the order of first use.
const maxRollupNames = 10_000

// rollupName is the name id that a row is counted under. No name is 0 too.
func rollupName(id int64) int64 {
	if id > maxRollupNames {
		return 0
	}
	return id
}

// rollupKey is the place of a rollup in a file.
type rollupKey struct {
	width rollup.Width
	name  int64
	start int64 // microseconds
	gone  int64
}

// tally collects the rollups of one transaction: by minute, hours are made of
// those. It does not outlive the rows.
type tally struct {
	minutes map[rollupKey]*rollup.Rollup
	groups  map[string]string // of workers
}

// liveWidths are the widths that a live file keeps.
var liveWidths = [2]rollup.Width{rollup.Minute, rollup.Hour}

func (t *tally) add(v *task.Invocation, name, gone int64) {
	if t.minutes == nil {
		t.minutes, t.groups = map[rollupKey]*rollup.Rollup{}, map[string]string{}
	}
	group, ok := t.groups[v.Worker]
	if !ok {
		group = task.WorkerGroup(v.Worker)
		t.groups[v.Worker] = group
	}
	rollupAt(t.minutes, rollupKey{rollup.Minute, rollupName(name), rollup.Minute.Start(v.RowTime()), gone}).AddShared(v, group)
}

func rollupAt(m map[rollupKey]*rollup.Rollup, k rollupKey) *rollup.Rollup {
	r := m[k]
	if r == nil {
		r = &rollup.Rollup{}
		m[k] = r
	}
	return r
}

// store merges the tally into the table, in the order of its key. As cuts are
// in time order most minutes are new, which one look tells.
func (t *tally) store(ctx context.Context, c *conn, hours *hourCache) error {
	if len(t.minutes) == 0 {
		return nil
	}
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT max(start) FROM rollup WHERE width = ?", int64(rollup.Minute)); err != nil {
		return err
	}
	newest, any := vals[0].(int64)
	all := maps.Clone(t.minutes)
	hours.advance(t.minutes)
	for k, r := range t.minutes {
		k.width, k.start = rollup.Hour, rollup.Hour.Start(k.start)
		kept, err := hours.at(ctx, c, k)
		if err != nil {
			return err
		}
		if kept == nil {
			rollupAt(all, k).Merge(r)
			continue
		}
		kept.MergeOwned(r)
		all[k] = kept
	}
	var dec rollup.Decoder
	write := batchInsert{text: "INSERT OR REPLACE INTO rollup (width, name, start, gone, data) VALUES ", columns: 5}
	var encoded []byte // of many rollups: where it is full, those before keep the old one
	for _, k := range slices.SortedFunc(maps.Keys(all), rollupKey.compare) {
		r := all[k]
		if any && (k.width != rollup.Minute || k.start <= newest) && hours.sums[k] == nil {
			found, err := c.queryRow(ctx, vals[:], "SELECT data FROM rollup WHERE width = ? AND start = ? AND name = ? AND gone = ?",
				int64(k.width), k.start, k.name, k.gone)
			if err != nil {
				return err
			}
			if data, _ := vals[0].([]byte); found {
				if err := dec.Merge(r, data); err != nil {
					return fmt.Errorf("a stored rollup: %w", err)
				}
			}
		}
		if cap(encoded)-len(encoded) < encodedRoom/8 {
			encoded = make([]byte, 0, encodedRoom)
		}
		from := len(encoded)
		encoded = r.AppendBinary(encoded)
		if err := write.add(c, int64(k.width), k.name, k.start, k.gone, encoded[from:len(encoded):len(encoded)]); err != nil {
			return err
		}
	}
	return write.flush(c)
}

// encodedRoom is the memory that encoded rollups share: one has some hundred bytes.
const encodedRoom = 64 << 10

// compare is the order of a live file's table.
func (k rollupKey) compare(o rollupKey) int {
	return cmp.Or(cmp.Compare(k.width, o.width), cmp.Compare(k.start, o.start), cmp.Compare(k.name, o.name), cmp.Compare(k.gone, o.gone))
}

func storeRollup(c *conn, k rollupKey, r *rollup.Rollup, buf []byte) ([]byte, error) {
	buf = r.AppendBinary(buf[:0])
	return buf, c.exec("INSERT OR REPLACE INTO rollup (width, name, start, gone, data) VALUES (?, ?, ?, ?, ?)",
		int64(k.width), k.name, k.start, k.gone, buf)
}

// sealTally computes the rollups of a file whose rows come in time order: an
// hour is written when it is over, the day at the end.
type sealTally struct {
	hour  int64
	hours map[int64]*rollup.Rollup // of the hour, by name id
	days  map[int64]*rollup.Rollup
	buf   []byte

	groups map[string]string // of workers
}

func (t *sealTally) add(c *conn, v *task.Invocation, name int64) error {
	if hour := rollup.Hour.Start(v.RowTime()); t.hours == nil || hour != t.hour {
		if err := t.flush(c); err != nil {
			return err
		}
		t.hour, t.hours = hour, map[int64]*rollup.Rollup{}
	}
	name = rollupName(name)
	r := t.hours[name]
	if r == nil {
		r = &rollup.Rollup{}
		t.hours[name] = r
	}
	group, ok := t.groups[v.Worker]
	if !ok {
		if t.groups == nil {
			t.groups = map[string]string{}
		}
		group = task.WorkerGroup(v.Worker)
		t.groups[v.Worker] = group
	}
	r.AddShared(v, group) // its names are those of the source's dictionaries
	return nil
}

// flush writes the hour and adds it to the day.
func (t *sealTally) flush(c *conn) error {
	if t.days == nil {
		t.days = map[int64]*rollup.Rollup{}
	}
	var err error
	for name, r := range t.hours {
		if t.buf, err = storeRollup(c, rollupKey{rollup.Hour, name, t.hour, 0}, r, t.buf); err != nil {
			return err
		}
		if d := t.days[name]; d != nil {
			d.Merge(r)
		} else {
			t.days[name] = r
		}
	}
	t.hours = nil
	return nil
}

// finish writes the last hour and the day.
func (t *sealTally) finish(c *conn, day task.Day) error {
	err := t.flush(c)
	for name, r := range t.days {
		if err == nil {
			t.buf, err = storeRollup(c, rollupKey{rollup.Day, name, day.Start(), 0}, r, t.buf)
		}
	}
	return err
}

// countedRow reads what a rollup needs of a row by its key: the row without
// its details, and its name id.
func countedRow(ctx context.Context, c *conn, schema string, day task.Day, key int64) (v task.Invocation, name int64, err error) {
	var vals [columnCount + 1]driver.Value
	found, err := c.queryRow(ctx, vals[:], "SELECT "+readColumns+", i.name FROM "+schema+".invocation AS i"+joins(schema)+" WHERE i.key = ?", key)
	if err == nil && !found {
		err = errRow
	}
	if err != nil {
		return v, 0, err
	}
	_, _, _, err = decodeRow(vals[:columnCount], day, &v)
	name, _ = vals[columnCount].(int64)
	return v, name, err
}
