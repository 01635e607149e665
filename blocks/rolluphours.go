package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"

	"daybook/tsdb/rollup"
)

// maxCachedHours bounds the rollups that a writer keeps: some kilobytes each.
const maxCachedHours = 2048

// hourCache are the rollups of the newest hour as they are stored. Every cut
// adds to those of nearly all names: reading and decoding them anew was a
// quarter of what rollups cost a cut. It is of one writer, and is thrown away
// when a transaction fails.
type hourCache struct {
	start int64
	sums  map[rollupKey]*rollup.Rollup
	dec   rollup.Decoder
}

// advance goes on to the newest hour of some minutes.
func (h *hourCache) advance(minutes map[rollupKey]*rollup.Rollup) {
	for k := range minutes {
		if at := rollup.Hour.Start(k.start); k.gone == 0 && (h.sums == nil || at > h.start) {
			h.start, h.sums = at, map[rollupKey]*rollup.Rollup{}
		}
	}
}

// at is the stored rollup of a key, which the caller changes and stores; nil if
// it is not kept here.
func (h *hourCache) at(ctx context.Context, c *conn, k rollupKey) (*rollup.Rollup, error) {
	if k.gone != 0 || k.start != h.start || h.sums == nil {
		return nil, nil
	}
	if r := h.sums[k]; r != nil {
		return r, nil
	}
	if len(h.sums) >= maxCachedHours {
		return nil, nil
	}
	r := &rollup.Rollup{}
	var vals [1]driver.Value
	found, err := c.queryRow(ctx, vals[:], "SELECT data FROM rollup WHERE width = ? AND start = ? AND name = ? AND gone = ?",
		int64(k.width), k.start, k.name, k.gone)
	if err != nil {
		return nil, err
	}
	if data, _ := vals[0].([]byte); found {
		if err := h.dec.Decode(r, data); err != nil {
			return nil, fmt.Errorf("a stored rollup: %w", err)
		}
	}
	h.sums[k] = r
	return r, nil
}
