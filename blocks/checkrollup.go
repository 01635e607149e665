package blocks

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// rollupCheck computes the rollups of an open file from its rows and compares
// them with the stored ones.
//
// In a sealed file the bytes are equal. In a live file nothing is ever taken
// out of a stored rollup, and every rollup is a function of the rows that were
// added to it: what was added, and the sealed rows that the mask hides, are
// together the rows that are there and those that are gone, to the byte. Its
// hours are complete with the minutes that are pending.
type rollupCheck struct {
	r      *report
	c      *conn
	day    task.Day
	sealed bool
	to     int64 // of a live file: the first minute that is pending
	// firstWaits: the file's rollups count waits by the first rule.
	firstWaits bool
	// masked are the rollups of the sealed rows that an overlay hides; unknown
	// if there are such rows and the sealed file is not at hand.
	masked  map[rollupKey]*rollup.Rollup
	unknown bool

	stored rollupsByName
	names  *nameCheck
	dec    rollup.Decoder
	buf    []byte
}

// widths are those that the file keeps, the narrow one first: the wide ones are
// merged from it.
func (k *rollupCheck) widths() [2]rollup.Width {
	if k.sealed {
		return [2]rollup.Width{rollup.Hour, rollup.Day}
	}
	return liveWidths
}

// of are the rollups of one name by place; its keys have no gone.
type of map[rollupKey]*rollup.Rollup

func (o of) at(key rollupKey) *rollup.Rollup {
	r := o[key]
	if r == nil {
		r = &rollup.Rollup{}
		o[key] = r
	}
	return r
}

// run walks over the rows name by name, so that it holds the rollups of one
// name, and of those that are not counted apart.
func (k *rollupCheck) run(ctx context.Context) error {
	if k.names.bad {
		return nil
	}
	if !k.sealed {
		var err error
		if k.to, err = loadHours(ctx, k.c, "main"); err != nil {
			return err
		}
	}
	if err := k.shape(ctx); err != nil {
		return err
	}
	k.stored = rollupsByName{c: k.c, most: heldRollupBytes}
	if err := k.stored.loadSizes(ctx); err != nil {
		return err
	}
	names := map[int64]bool{} // that have rollups, and no rows so far
	for name := range k.stored.sizes {
		names[name] = true
	}
	for key := range k.masked {
		names[key.name] = true
	}
	rest, one, current := of{}, of{}, int64(0)
	done := func() error {
		if current == 0 {
			return nil
		}
		delete(names, current)
		err := k.compare(ctx, current, one)
		clear(one)
		return err
	}
	width := k.widths()[0]
	err := k.byName(ctx, func(vals []driver.Value) error {
		var v task.Invocation
		if _, _, _, err := decodeRow(vals[:columnCount], k.day, &v); err != nil {
			return err
		}
		id, _ := vals[columnCount].(int64)
		if id = rollupName(id); id == 0 {
			rest.at(rollupKey{width: width, start: width.Start(v.RowTime())}).Add(Counted(&v, k.firstWaits))
			return nil
		}
		if id != current {
			if err := done(); err != nil {
				return err
			}
			current = id
		}
		one.at(rollupKey{width: width, name: id, start: width.Start(v.RowTime())}).Add(Counted(&v, k.firstWaits))
		return nil
	})
	if err == nil {
		err = done()
	}
	if err == nil {
		delete(names, 0)
		err = k.compare(ctx, 0, rest)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err == nil {
			err = k.compare(ctx, name, of{})
		}
	}
	return err
}

// shape looks for entries that no writer makes.
func (k *rollupCheck) shape(ctx context.Context) error {
	w, most := k.widths(), int64(1)
	if k.sealed {
		most = 0
	}
	var vals [1]driver.Value
	_, err := k.c.queryRow(ctx, vals[:], "SELECT count(*) FROM rollup WHERE width NOT IN (?, ?) OR start % (width * 1000000) <> 0"+
		" OR start < ? OR start >= ? OR gone NOT BETWEEN 0 AND ? OR name NOT BETWEEN 0 AND ?",
		int64(w[0]), int64(w[1]), k.day.Start(), k.day.End(), most, int64(maxRollupNames))
	if err == nil && vals[0] != int64(0) {
		err = k.add("%v rollups are of no bucket that the file should have", vals[0])
	}
	if err == nil && !k.sealed && k.to != math.MaxInt64 && (k.to < k.day.Start() || k.to > k.day.End()) {
		err = k.add("its hours are said to be complete up to a time that is not of the day")
	}
	return err
}

// compare compares the stored rollups of a name with those of its rows, which
// are of the narrow width.
func (k *rollupCheck) compare(ctx context.Context, name int64, rows of) error {
	wide := k.widths()[1]
	for key, r := range maps.Clone(rows) {
		rows.at(rollupKey{width: wide, name: name, start: wide.Start(key.start)}).Merge(r)
	}
	added, gone := map[rollupKey][]byte{}, map[rollupKey][]byte{}
	places := map[rollupKey]bool{}
	stored, err := k.stored.of(ctx, name, k.widths())
	if err != nil {
		return err
	}
	for _, x := range stored {
		places[x.key] = true
		if x.gone {
			gone[x.key] = x.data
		} else {
			added[x.key] = x.data
		}
	}
	if !k.sealed {
		for _, part := range []map[rollupKey][]byte{added, gone} {
			k.addPending(part, places)
		}
	}
	for key := range rows {
		places[key] = true
	}
	for key := range k.masked {
		if key.name == name {
			places[key] = true
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(places), func(a, b rollupKey) int {
		return cmp.Or(cmp.Compare(a.width, b.width), cmp.Compare(a.start, b.start))
	}) {
		var err error
		if k.sealed {
			err = k.equal(ctx, key, added[key], rows[key])
		} else {
			err = k.balance(ctx, key, added[key], gone[key], rows[key])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addPending completes the hours of a live file with the minutes that are pending.
// One that is damaged is found by itself, and is missing from its hour.
func (k *rollupCheck) addPending(part map[rollupKey][]byte, places map[rollupKey]bool) {
	for _, key := range slices.SortedFunc(maps.Keys(part), rollupKey.compare) {
		if key.width != rollup.Minute || key.start < k.to {
			continue
		}
		hour := hourOf(key)
		places[hour] = true
		var sum rollup.Rollup
		if k.dec.Merge(&sum, part[key]) != nil || part[hour] != nil && k.dec.Merge(&sum, part[hour]) != nil {
			continue
		}
		part[hour] = sum.AppendBinary(nil)
	}
}

// equal wants the stored bytes of a sealed file to be those of the rows.
func (k *rollupCheck) equal(ctx context.Context, key rollupKey, stored []byte, rows *rollup.Rollup) error {
	if rows == nil {
		return k.differs(ctx, key, "is of no row")
	}
	if stored == nil {
		return k.differs(ctx, key, "is missing: there are %d rows", rows.Total())
	}
	if k.buf = rows.AppendBinary(k.buf[:0]); bytes.Equal(k.buf, stored) {
		return nil
	}
	var r rollup.Rollup
	if err := k.dec.Decode(&r, stored); err != nil {
		return k.differs(ctx, key, "is damaged: %v", err)
	}
	return k.differs(ctx, key, "is not that of its rows: %s", difference(&r, rows))
}

// balance wants what was added to a live file, and what its mask hides, to be
// the rows that are there and those that are gone.
func (k *rollupCheck) balance(ctx context.Context, key rollupKey, added, gone []byte, rows *rollup.Rollup) error {
	var put, left rollup.Rollup
	for _, part := range []struct {
		data []byte
		into *rollup.Rollup
	}{{added, &put}, {gone, &left}} {
		if part.data == nil {
			continue
		}
		if err := k.dec.Merge(part.into, part.data); err != nil {
			return k.differs(ctx, key, "is damaged: %v", err)
		}
	}
	if rows != nil {
		left.Merge(rows)
	}
	if m := k.masked[key]; m != nil {
		put.Merge(m)
	}
	if put.Equal(&left) {
		return nil
	}
	if k.unknown {
		// Of what is gone, an unknown part was never here.
		if rest := left.Clone(); rest.Subtract(&put) == nil {
			return nil
		}
	}
	return k.differs(ctx, key, "is not that of its rows: %s", difference(&put, &left))
}

// difference says where two rollups part.
func difference(stored, rows *rollup.Rollup) string {
	if a, b := stored.Total(), rows.Total(); a != b {
		return fmt.Sprintf("it counts %d, they are %d", a, b)
	}
	for _, s := range task.States {
		if a, b := stored.States[s], rows.States[s]; a != b {
			return fmt.Sprintf("it counts %d %s, they are %d", a, s, b)
		}
	}
	if stored.Counts != rows.Counts {
		return fmt.Sprintf("it counts %d retries and %d given up, they are %d and %d", stored.Retries, stored.GivenUp, rows.Retries, rows.GivenUp)
	}
	return "the counts are right; runtimes, waits or names are not"
}

func (k *rollupCheck) differs(ctx context.Context, key rollupKey, problem string, args ...any) error {
	name, err := k.name(ctx, key.name)
	if err != nil {
		return err
	}
	unit := map[rollup.Width]string{rollup.Minute: "minute", rollup.Hour: "hour", rollup.Day: "day"}[key.width]
	at := time.UnixMicro(key.start).UTC().Format("2006-01-02T15:04Z")
	return k.add("the rollup of %s in the %s of %s "+problem, append([]any{name, unit, at}, args...)...)
}

// name is how a finding names a task.
func (k *rollupCheck) name(ctx context.Context, id int64) (string, error) {
	var vals [1]driver.Value
	if id == 0 {
		return "tasks without a name or beyond the bound", nil
	}
	found, err := k.c.queryRow(ctx, vals[:], "SELECT name FROM task_name WHERE id = ?", id)
	if name, ok := vals[0].(string); ok && found {
		return fmt.Sprintf("%q", name), err
	}
	return fmt.Sprintf("task_name %d, which is not there,", id), err
}

// add is a finding about rollups: rows are whole, only sums are wrong.
func (k *rollupCheck) add(problem string, args ...any) error {
	remedy := "restore the file from a backup; until then its rows are right, and summaries, series and counts of that time are not"
	if !k.sealed {
		remedy = "nothing; the rollups are computed again when the day is sealed, until then summaries, series and counts of that time are wrong"
	}
	return k.r.add(remedy, problem, args...)
}
