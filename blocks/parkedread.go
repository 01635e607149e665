package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"

	"daybook/tsdb/task"
)

// parkedPage is how many rows one read transaction takes from a parked file.
const parkedPage = 500

// Find returns those of the ids that are parked.
func (p *Parked) Find(ctx context.Context, ids []string) (map[string]task.Invocation, error) {
	found := map[string]task.Invocation{}
	for _, id := range ids {
		hash := task.HashID(id)
		if !p.MayContain(hash) || p.hidden[id] {
			continue
		}
		invs, err := p.read(ctx, "WHERE hash = ? AND id = ?", flipHash(hash), id)
		if err != nil {
			return nil, err
		}
		for _, v := range invs {
			found[id] = v
		}
	}
	return found, nil
}

// HasBetween reports whether anything parked has its row time in from ≤ t < to, in
// microseconds.
func (p *Parked) HasBetween(ctx context.Context, from, to int64) (bool, error) {
	found := false
	err := p.Scan(ctx, &task.Key{At: from - 1, Hash: math.MaxUint64}, true, func(v *task.Invocation) (bool, error) {
		found = v.Key().At < to
		return false, nil
	})
	return found, err
}

// Older returns the oldest invocations whose last event was before a time in
// microseconds, at most limit.
func (p *Parked) Older(ctx context.Context, before int64, limit int) ([]task.Invocation, error) {
	return p.read(ctx, "WHERE at < ? ORDER BY at, hash, id LIMIT ?", before, int64(limit))
}

// Scan calls fn with the parked invocations behind a place of the order, in
// task.Key order or, newest first, against it, until fn returns false. No
// transaction is open while fn runs: what changes meanwhile may be seen or not.
func (p *Parked) Scan(ctx context.Context, after *task.Key, oldest bool, fn func(*task.Invocation) (bool, error)) error {
	where := "WHERE (at, hash, id) < (?, ?, ?) ORDER BY at DESC, hash DESC, id DESC LIMIT ?"
	at, hash, id := int64(math.MaxInt64), int64(math.MaxInt64), ""
	if oldest {
		where = "WHERE (at, hash, id) > (?, ?, ?) ORDER BY at, hash, id LIMIT ?"
		at = math.MinInt64
	}
	if after != nil {
		at, hash, id = after.At, flipHash(after.Hash), after.ID
	}
	for {
		page, err := p.read(ctx, where, at, hash, id, int64(parkedPage))
		if err != nil {
			return err
		}
		for i := range page {
			if p.hidden[page[i].TaskID] {
				continue
			}
			if more, err := fn(&page[i]); !more || err != nil {
				return err
			}
		}
		if len(page) < parkedPage {
			return nil
		}
		k := page[len(page)-1].Key()
		at, hash, id = k.At, flipHash(k.Hash), k.ID
	}
}

// read decodes the rows of one query. What is behind a damage is left out, which
// Damage tells from then on: days answer without it.
func (p *Parked) read(ctx context.Context, where string, args ...driver.Value) ([]task.Invocation, error) {
	c, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { p.conn <- c }()
	out, err := readParked(ctx, c, p.path, where, args...)
	return out, p.met(err)
}

// met notes a damage, which is an error no longer.
func (p *Parked) met(err error) error {
	if damaged := (*DamagedError)(nil); errors.As(err, &damaged) {
		p.damage.CompareAndSwap(nil, damaged)
		return nil
	}
	return err
}

// Damage is the first damage that a read has met; nil is none so far.
func (p *Parked) Damage() error {
	if damaged := p.damage.Load(); damaged != nil {
		return damaged
	}
	return nil
}

// readParked returns what it has read, also with an error.
func readParked(ctx context.Context, c *conn, path, where string, args ...driver.Value) (out []task.Invocation, err error) {
	err = eachParked(ctx, c, path, func(v *task.Invocation) { out = append(out, *v) }, where, args...)
	return out, err
}

func eachParked(ctx context.Context, c *conn, path string, fn func(*task.Invocation), where string, args ...driver.Value) error {
	err := c.each(ctx, 1, func(vals []driver.Value) error {
		data, _ := vals[0].([]byte)
		v, err := task.DecodeBinary(data)
		if err != nil {
			return fmt.Errorf("%w: %w", errRow, err)
		}
		fn(&v)
		return nil
	}, "SELECT data FROM parked "+where, args...)
	if err != nil {
		return openError(path, err)
	}
	return nil
}
