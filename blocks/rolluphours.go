package blocks

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
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
// Of small cuts it is less, so that what readers add stays in proportion. The
// newest quarter of that stays pending: cuts to come have more of these minutes,
// and an event of a clock that is ahead does not make all others late.
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

// complete adds the oldest pending minutes to their hours if there are too many.
// added is how many rollups the cut had. What is damaged stays as it is, for verify
// to find: it is no reason to keep rows out.
func (s hoursState) complete(ctx context.Context, c *conn, sum *rollup.Sum, added int) (hoursState, error) {
	limit := int64(min(maxPending, pendingCuts*added))
	if !s.kept || s.pending <= limit {
		return s, nil
	}
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT start FROM rollup WHERE width = ? AND start >= ? ORDER BY start DESC LIMIT 1 OFFSET ?",
		int64(rollup.Minute), s.to, limit/4); err != nil {
		return s, err
	}
	if upTo, ok := vals[0].(int64); ok && upTo > s.to {
		hours, err := pendingHours(ctx, c, sum, s.to, upTo)
		switch {
		case errors.Is(err, rollup.ErrDamaged) || errors.Is(err, errRow):
			s.pending = 0 // tried again when there are as many more
			return s, nil
		case err != nil:
			return s, err
		}
		write := newRollupWriter(c)
		for _, k := range slices.SortedFunc(maps.Keys(hours), rollupKey.compare) {
			if err := write.add(k, func(dst []byte) []byte { return append(dst, hours[k]...) }); err != nil {
				return s, err
			}
		}
		if err := errors.Join(write.flush(c), setMeta(c, metaHoursTo, upTo)); err != nil {
			return s, err
		}
		s.to = upTo
	}
	var err error
	s.pending, err = pendingFrom(ctx, c, s.to)
	return s, err
}

// pendingHours are the hours that have minutes in a range, with these added,
// encoded.
func pendingHours(ctx context.Context, c *conn, sum *rollup.Sum, from, to int64) (map[rollupKey][]byte, error) {
	minutes := map[rollupKey][][]byte{} // by their hour
	if err := c.each(ctx, 4, func(vals []driver.Value) error {
		k, data, err := storedRollup(vals)
		if err == nil {
			k = hourOf(k)
			minutes[k] = append(minutes[k], bytes.Clone(data))
		}
		return err
	}, "SELECT start, name, gone, data FROM rollup WHERE width = ? AND start >= ? AND start < ?", int64(rollup.Minute), from, to); err != nil {
		return nil, err
	}
	hours := make(map[rollupKey][]byte, len(minutes))
	for k, parts := range minutes {
		hour, err := loadRollup(ctx, c, k)
		if err != nil {
			return nil, err
		}
		if hour != nil {
			parts = append(parts, hour)
		}
		for _, data := range parts {
			if err := sum.AddBinary(data); err != nil {
				*sum = rollup.Sum{}
				return nil, err
			}
		}
		hours[k] = sum.Take(nil)
	}
	return hours, nil
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
