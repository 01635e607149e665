package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"maps"
	"math"
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
	// A cut adds minutes of all names: in a live file they stand together.
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

// tally makes the rollups of one transaction, by minute.
type tally struct {
	gone   map[rollupKey]*rollup.Rollup // of rows that were counted and leave
	ranked rollup.Rankings[int64]       // by id in the file's dictionaries

	facts  []rollup.Fact // by row
	gather rollup.Gather
	part   rollup.Rollup
	sum    rollup.Sum
	last   []int32 // by name id: one more than the number of its last row of the minute
	before []int32 // by row: the same of the row of that name before it
	names  []int64 // of the minute
}

// liveWidths are the widths that a live file keeps.
var liveWidths = [2]rollup.Width{rollup.Minute, rollup.Hour}

// reset forgets the rows of a transaction. What was remembered of workers is only
// true if the transaction, which numbered some of them, took place.
func (t *tally) reset(done bool) {
	t.gone = map[rollupKey]*rollup.Rollup{}
	t.part.Reset() // its names may be parts of whole records
	clear(t.facts)
	t.facts = t.facts[:0]
	if t.ranked.Forget(); !done {
		t.ranked = rollup.Rankings[int64]{}
	}
}

// leaves counts a row that was counted and is not shown any more.
func (t *tally) leaves(v *task.Invocation, name int64) {
	k := rollupKey{rollup.Minute, rollupName(name), rollup.Minute.Start(v.RowTime()), 1}
	rollupAt(t.gone, k).AddShared(v, task.WorkerGroup(v.Worker))
}

// note remembers what is to be counted of the next row of a cut, which is at hand
// when it is inserted.
func (t *tally) note(v *task.Invocation, ids dictIDs) {
	t.facts = append(t.facts, rollup.FactOf(v, t.ranked.Of(v, ids.worker, ids.queue)))
}

// minutes calls fn with the rollups of the rows of a cut, which are in time order:
// those of a minute and a name are counted together. A rollup is valid until fn
// returns.
func (t *tally) minutes(rows []placed, fn func(rollupKey, *rollup.Rollup) error) error {
	if t.last == nil {
		t.last = make([]int32, maxRollupNames+1)
	}
	t.before = slices.Grow(t.before[:0], len(rows))[:len(rows)]
	for from, to := 0, 0; from < len(rows); from = to {
		start := rollup.Minute.Start(rows[from].at.At)
		t.names = t.names[:0]
		for to = from; to < len(rows) && rows[to].at.At < start+rollup.Minute.Micros(); to++ {
			name := rollupName(rows[to].name)
			if t.last[name] == 0 {
				t.names = append(t.names, name)
			}
			t.before[to], t.last[name] = t.last[name], int32(to+1)
		}
		slices.Sort(t.names)
		for _, name := range t.names {
			for n := t.last[name]; n != 0; n = t.before[n-1] {
				t.gather.Add(&t.facts[n-1])
			}
			t.last[name] = 0
			t.ranked.Take(&t.gather, &t.part)
			if err := fn(rollupKey{rollup.Minute, name, start, 0}, &t.part); err != nil {
				t.last = nil
				return err
			}
		}
	}
	return nil
}

func rollupAt[K comparable](m map[K]*rollup.Rollup, k K) *rollup.Rollup {
	r := m[k]
	if r == nil {
		r = &rollup.Rollup{}
		m[k] = r
	}
	return r
}

// store merges the rollups of the rows of a cut, and of those that leave, into the
// table: minutes, and the hours they are in as far as those are complete.
func (t *tally) store(ctx context.Context, c *conn, rows []placed, hours hoursState) (hoursState, error) {
	if len(rows) == 0 && len(t.gone) == 0 {
		return hours, nil
	}
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT max(start) FROM rollup WHERE width = ?", int64(rollup.Minute)); err != nil {
		return hours, err
	}
	newest, ok := vals[0].(int64)
	if !ok {
		newest = math.MinInt64
	}
	late := map[rollupKey]*rollup.Rollup{}
	write, added := newRollupWriter(c), 0
	minute := func(k rollupKey, r *rollup.Rollup) error {
		added++
		if k.start < hours.to {
			rollupAt(late, hourOf(k)).Merge(r)
		} else {
			hours.pending++ // or it is there: counting anew puts that right
		}
		return write.merge(ctx, k, r, newest)
	}
	if err := t.minutes(rows, minute); err != nil {
		return hours, err
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.gone), rollupKey.compare) {
		if err := minute(k, t.gone[k]); err != nil {
			return hours, err
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(late), rollupKey.compare) {
		if err := write.merge(ctx, k, late[k], math.MaxInt64); err != nil {
			return hours, err
		}
	}
	if err := write.flush(c); err != nil {
		return hours, err
	}
	return hours.complete(ctx, c, &t.sum, added)
}

// rollupWriter writes many rollups. None of them may have the place of another.
type rollupWriter struct {
	batchInsert
	c       *conn
	encoded []byte // of many: where it is full, those before keep the old one
	dec     rollup.Decoder
	stored  rollup.Rollup
}

func newRollupWriter(c *conn) *rollupWriter {
	return &rollupWriter{c: c, batchInsert: batchInsert{text: "INSERT OR REPLACE INTO rollup (width, name, start, gone, data) VALUES ", columns: 5}}
}

// merge adds r to the rollup that is stored, if there is one: there are none after
// newest. As cuts are in time order most minutes are new. One that is damaged stays
// so, and is found by who reads it, until the day is sealed: rows do not wait for it.
func (w *rollupWriter) merge(ctx context.Context, k rollupKey, r *rollup.Rollup, newest int64) error {
	if k.start <= newest {
		data, err := loadRollup(ctx, w.c, k)
		if err != nil {
			return err
		}
		if data != nil {
			if w.dec.Decode(&w.stored, data) != nil {
				return nil
			}
			w.stored.Merge(r) // the greater one has most of the names and bins: half the time of the other way round
			r = &w.stored
		}
	}
	return w.add(k, r.AppendBinary)
}

func (w *rollupWriter) add(k rollupKey, appendTo func([]byte) []byte) error {
	if cap(w.encoded)-len(w.encoded) < encodedRoom/8 {
		w.encoded = make([]byte, 0, encodedRoom)
	}
	from := len(w.encoded)
	w.encoded = appendTo(w.encoded)
	return w.batchInsert.add(w.c, int64(k.width), k.name, k.start, k.gone, w.encoded[from:len(w.encoded):len(w.encoded)])
}

// loadRollup reads one; nil if there is none.
func loadRollup(ctx context.Context, c *conn, k rollupKey) ([]byte, error) {
	var vals [1]driver.Value
	_, err := c.queryRow(ctx, vals[:], "SELECT data FROM rollup WHERE width = ? AND start = ? AND name = ? AND gone = ?",
		int64(k.width), k.start, k.name, k.gone)
	data, _ := vals[0].([]byte)
	return data, err
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
	begun bool
	hours map[int64]*rollup.Rollup // of the hour, by name id
	days  map[int64]*rollup.Rollup
	buf   []byte

	gathers map[int64]*rollup.Gather // rows that are not in hours yet, by name id
	rows    int                      // how many
	ranked  rollup.Rankings[string]
	part    rollup.Rollup
}

// maxGathered is how many rows are counted together at most: some 50 bytes each.
const maxGathered = 1 << 16

func (t *sealTally) add(c *conn, v *task.Invocation, name int64) error {
	if hour := rollup.Hour.Start(v.RowTime()); !t.begun || hour != t.hour {
		if err := t.flush(c); err != nil {
			return err
		}
		t.hour, t.begun = hour, true
	}
	name = rollupName(name)
	g := t.gathers[name]
	if g == nil {
		if t.gathers == nil {
			t.gathers = map[int64]*rollup.Gather{}
		}
		g = &rollup.Gather{}
		t.gathers[name] = g
	}
	f := rollup.FactOf(v, t.ranked.Of(v, v.Worker, v.Queue))
	g.Add(&f) // its names are those of the source's dictionaries
	if t.rows++; t.rows == maxGathered {
		t.settle()
	}
	return nil
}

// settle counts the rows that were gathered.
func (t *sealTally) settle() {
	if t.hours == nil {
		t.hours = map[int64]*rollup.Rollup{}
	}
	for name, g := range t.gathers {
		if t.ranked.Take(g, &t.part); !t.part.Empty() {
			rollupAt(t.hours, name).Merge(&t.part)
		}
	}
	t.gathers, t.rows = nil, 0 // each keeps room for as many rows as it had
	t.ranked.Forget()
}

// flush writes the hour and adds it to the day.
func (t *sealTally) flush(c *conn) error {
	t.settle()
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
