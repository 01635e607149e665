package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// A statement reads the rows of so many times: few at first, as most
	// queries end with their page.
	nameBatchFirst = 64
	nameBatch      = 256
	// A tick of more rows of a name than that is read by key: what was given up
	// over a midnight is all of one time.
	denseRows = 64
)

// namedRow is a row as the driver gives it.
type namedRow [columnCount + 1]driver.Value

// namedRows are the rows of one arm by name: those of a batch of times (ticks,
// namepage.go) in one statement, then of the next.
type namedRows struct {
	f     *fileRows
	arm   *arm
	rest  conds
	keys  span
	mask  string
	n     int
	times *nameTimes
	size  int // of the next batch

	batch []int64 // the times of the statement under way, in order
	left  []int64 // those that have no statement yet
	rows  rows    // of the batch
	ahead namedRow
	held  bool       // ahead is a row behind group
	group []namedRow // the rows of one time, in the order of the walk
	pos   int
	dense rows // of the one time that has too many
}

// openName starts an arm by name.
func (f *fileRows) openName(ctx context.Context, a *arm, rest conds, keys span, mask string, n int) (*namedRows, error) {
	times, err := openNameTimes(ctx, f.c, f.schema, a.name, tickOfKey(keys.low), tickOfKey(keys.high-1)+1, f.oldest)
	return &namedRows{f: f, arm: a, rest: rest, keys: keys, mask: mask, n: n, times: times, size: nameBatchFirst}, err
}

// next reads the next row into vals; false at the end.
func (r *namedRows) next(ctx context.Context, vals []driver.Value) (bool, error) {
	for {
		if r.dense.r != nil {
			ok, err := r.dense.next(vals)
			if ok || err != nil {
				return ok, err
			}
			if err := r.end(&r.dense); err != nil {
				return false, err
			}
		}
		if r.pos < len(r.group) {
			copy(vals, r.group[r.pos][:])
			r.pos++
			return true, nil
		}
		ok, err := r.read(ctx)
		if !ok || err != nil {
			return false, err
		}
	}
}

func (r *namedRows) end(rows *rows) error {
	if rows.r == nil {
		return nil
	}
	err := rows.close()
	rows.r = nil
	return err
}

func (r *namedRows) close() error { return errors.Join(r.end(&r.dense), r.end(&r.rows)) }

// read reads the rows of the next time; false at the end. It may find none.
func (r *namedRows) read(ctx context.Context) (bool, error) {
	r.group, r.pos = r.group[:0], 0
	if r.rows.r == nil {
		if ok, err := r.begin(ctx); !ok || err != nil {
			return false, err
		}
	}
	for {
		row := r.ahead
		if !r.held {
			ok, err := r.rows.next(row[:])
			if err != nil {
				return false, err
			}
			if !ok {
				err = r.end(&r.rows)
				r.turn()
				return true, err
			}
		}
		r.held = false
		key, ok := row[0].(int64)
		if !ok {
			return false, errRow
		}
		if len(r.group) > 0 && tickOfKey(r.group[0][0].(int64)) != tickOfKey(key) {
			r.ahead, r.held = row, true
			r.turn()
			return true, nil
		}
		if len(r.group) == 0 {
			if err := r.follow(tickOfKey(key)); err != nil {
				return false, err
			}
		}
		if r.group = append(r.group, row); len(r.group) > denseRows {
			return true, r.crowd(ctx, tickOfKey(key))
		}
	}
}

// turn puts a group, whose keys ascend, into the order of the walk.
func (r *namedRows) turn() {
	if !r.f.oldest {
		slices.Reverse(r.group)
	}
}

// begin starts the statement of the next times.
func (r *namedRows) begin(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if r.batch, r.left = append(r.batch[:0], r.left...), nil; len(r.batch) == 0 {
		var err error
		if r.batch, err = r.times.batch(ctx, r.batch, r.size); err != nil || len(r.batch) == 0 {
			return false, err
		}
		r.size = nameBatch
	}
	text, args := r.arm.ofTimes(r.f.schema, r.mask, r.rest, r.keys, r.n)
	var err error
	r.rows, err = r.f.c.query(ctx, text, append([]driver.Value{jsonInts(r.batch)}, args...)...)
	return err == nil, err
}

// follow wants a time of the batch behind those before it. Nothing but the outer
// loop of the statement gives the order.
func (r *namedRows) follow(at int64) error {
	i := slices.Index(r.batch, at)
	if i < 0 {
		return errOrder
	}
	r.batch = r.batch[i+1:]
	return nil
}

var errOrder = errors.New("SQLite gave rows out of the order of a list")

// crowd reads the rows of a time by key instead, and the rest of its batch later.
func (r *namedRows) crowd(ctx context.Context, at int64) error {
	r.group, r.left = r.group[:0], slices.Clone(r.batch)
	if err := r.end(&r.rows); err != nil {
		return err
	}
	const shift = slotBits + tickShift
	one := span{max(r.keys.low, at<<shift), min(r.keys.high, (at+1)<<shift)}
	byTime := arm{index: byKey, conds: r.arm.conds}
	text, args := byTime.text(r.f.schema, r.mask, r.rest, one, r.f.oldest, r.n)
	var err error
	r.dense, err = r.f.c.query(ctx, text, args...)
	return err
}

// batch appends the next times, up to n.
func (t *nameTimes) batch(ctx context.Context, dst []int64, n int) ([]int64, error) {
	for len(dst) < n {
		at, ok, err := t.next(ctx)
		if err != nil || !ok {
			return dst, err
		}
		dst = append(dst, at)
	}
	return dst, nil
}

// ofTimes is text for an arm by name, with the rows of a list of times: the
// statement's first argument, which args leave out. json_each gives the list as
// it is, and is the outer loop. Rows of one time ascend.
func (a *arm) ofTimes(schema, mask string, rest conds, keys span, n int) (string, []driver.Value) {
	all := conds{
		text: slices.Concat([]string{ofTime}, a.conds.text, rest.text),
		args: slices.Concat([]driver.Value{keys.low, keys.high}, a.conds.args, rest.args),
	}
	all.unmasked(mask)
	return fmt.Sprintf("SELECT %s, 1 FROM json_each(?) CROSS JOIN %s.invocation AS i NOT INDEXED%s WHERE %s -- arm %d",
		readColumns, schema, joins(schema), strings.Join(all.text, " AND "), n), all.args
}

// ofTime are the keys of a tick of the list, in a range of keys.
var ofTime = fmt.Sprintf("i.key >= max(json_each.value << %d, ?) AND i.key < min((json_each.value + 1) << %[1]d, ?)", slotBits+tickShift)
