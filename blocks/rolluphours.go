package blocks

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"math"
	"slices"

	"daybook/tsdb/rollup"
)

// A live file keeps rollups by minute, and by hour what of them is before its
// meta hours_to: nearly every name has a rollup of the present hour, of more than
// a thousand bytes, and writing all of them with every cut was an eighth of its CPU and of its
// bytes. The minutes from there on are pending: who reads hours adds them.

// maxPending is how many rollups of minutes may be pending: reading one takes 2 µs.
// Of small cuts it is less, so that what readers add stays in proportion.
const maxPending, pendingCuts = 4096, 8

// hoursState is how far the hours of a live file go. It does not change.
type hoursState struct {
	to      int64 // first microsecond of the first minute that is pending
	pending int64 // at most so many rollups are of minutes from there on
	kept    bool  // the file says so; in those of version 3 and before all are complete
}

// loadHours reads how far the hours of an attached live file go; MaxInt64 says
// that they are complete.
func loadHours(ctx context.Context, c *conn, schema string) (to int64, err error) {
	var vals [1]driver.Value
	found, err := c.queryRow(ctx, vals[:], "SELECT value FROM "+schema+".meta WHERE key = ?", metaHoursTo)
	if err != nil || !found {
		return math.MaxInt64, err
	}
	to, ok := vals[0].(int64)
	if !ok || to != rollup.Minute.Start(to) {
		return 0, fmt.Errorf("meta %q is no minute: %w", metaHoursTo, errRow)
	}
	return to, nil
}

func loadHoursState(ctx context.Context, c *conn) (s hoursState, err error) {
	if s.to, err = loadHours(ctx, c, "main"); err != nil || s.to == math.MaxInt64 {
		return s, err
	}
	s.kept = true
	s.pending, err = pendingFrom(ctx, c, s.to)
	return s, err
}

func pendingFrom(ctx context.Context, c *conn, to int64) (n int64, err error) {
	var vals [1]driver.Value
	_, err = c.queryRow(ctx, vals[:], "SELECT count(*) FROM rollup WHERE width = ? AND start >= ?", int64(rollup.Minute), to)
	n, _ = vals[0].(int64)
	return n, err
}

// hourOf is the rollup of the hour that one of a minute is a part of.
func hourOf(minute rollupKey) rollupKey {
	minute.width, minute.start = rollup.Hour, rollup.Hour.Start(minute.start)
	return minute
}

// complete adds pending minutes to their hours if there are too many, those before
// the minute upTo. added is how many rollups the cut had.
func (s hoursState) complete(ctx context.Context, c *conn, added int, upTo int64) (hoursState, error) {
	if !s.kept || s.pending <= int64(min(maxPending, pendingCuts*added)) || upTo <= s.to {
		return s, nil
	}
	minutes := map[rollupKey][][]byte{} // encoded, by their hour
	if err := c.each(ctx, 4, func(vals []driver.Value) error {
		k, data, err := storedRollup(vals)
		if err == nil {
			k = hourOf(k)
			minutes[k] = append(minutes[k], bytes.Clone(data))
		}
		return err
	}, "SELECT start, name, gone, data FROM rollup WHERE width = ? AND start >= ? AND start < ?", int64(rollup.Minute), s.to, upTo); err != nil {
		return s, err
	}
	var sum rollup.Sum
	write := newRollupWriter(c)
	for _, k := range slices.SortedFunc(maps.Keys(minutes), rollupKey.compare) {
		hour, err := loadRollup(ctx, c, k)
		if err != nil {
			return s, err
		}
		if hour != nil {
			minutes[k] = append(minutes[k], hour)
		}
		for _, data := range minutes[k] {
			if err := sum.AddBinary(data); err != nil {
				return s, fmt.Errorf("a stored rollup: %w", err)
			}
		}
		if err := write.add(k, sum.Take); err != nil {
			return s, err
		}
	}
	if err := write.flush(c); err != nil {
		return s, err
	}
	pending, err := pendingFrom(ctx, c, upTo)
	if err != nil {
		return s, err
	}
	return hoursState{to: upTo, pending: pending, kept: true}, setMeta(c, metaHoursTo, upTo)
}

// storedRollup is a row (start, name, gone, data) of a minute.
func storedRollup(vals []driver.Value) (k rollupKey, data []byte, err error) {
	k.width = rollup.Minute
	var ok [4]bool
	k.start, ok[0] = vals[0].(int64)
	k.name, ok[1] = vals[1].(int64)
	k.gone, ok[2] = vals[2].(int64)
	data, ok[3] = vals[3].([]byte)
	if slices.Contains(ok[:], false) {
		err = errRow
	}
	return k, data, err
}
