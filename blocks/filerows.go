package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"daybook/tsdb/task"
)

// chunkMemory bounds the decompressed details that one file's reader keeps.
const chunkMemory = 2 << 20

// item is one row that was read.
type item struct {
	inv     task.Invocation
	key     task.Key
	detail  int64
	residue []byte
	from    *fileRows
}

// cursor is one open arm.
type cursor struct {
	rows  rows
	named *namedRows // instead of rows, in an arm by name
	vals  [columnCount + 1]driver.Value
	key   int64
	held  bool // vals are a row that nobody took yet
	done  bool
}

// fileRows are the rows of one attached file that match, in the exact order of
// task.Key. It lives within one read transaction.
//
// Keys are in that order but for rows that stand behind their natural key, and
// those stand in an unbroken run of keys. So rows are collected until a run
// surely ends - the next key is free, or the next row is of another time - and
// sorted then. Almost every run is one row.
type fileRows struct {
	c       *conn
	ctx     context.Context // of the fill: its cursors are read under it
	day     task.Day
	path    string
	schema  string
	oldest  bool
	whole   bool // the one arm gives every row
	named   bool // it has runs of names
	wanted  func(k *task.Key) (bool, error)
	chunks  *chunkReader
	cursors []*cursor
	run     []item
	next    int   // index in run
	last    int64 // key of the last row that was read

	// more opens the cursors of the next range of keys, when those of one are
	// done; nil: there is one.
	more func() (bool, error)
	// match says which rows match beyond what the statements say; nil: all.
	match func(it *item) (bool, error)
	// left is how many rows may still be looked at before the fill ends; passed
	// is told how far it has come without a row. nil: they do not matter.
	left   *int
	passed func(key int64)
}

// open starts the arms.
func (f *fileRows) open(ctx context.Context, arms []arm, rest conds, keys span, mask string) error {
	f.ctx = ctx
	f.whole = len(arms) == 1 && arms[0].whole && mask == ""
	for n := range arms {
		if arms[n].index == byName && f.named {
			named, err := f.openName(ctx, &arms[n], rest, keys, mask, n)
			if err != nil {
				return err
			}
			f.cursors = append(f.cursors, &cursor{named: named})
			continue
		}
		text, args := arms[n].text(f.schema, mask, rest, keys, f.oldest, n)
		r, err := f.c.query(ctx, text, args...)
		if err != nil {
			return err
		}
		f.cursors = append(f.cursors, &cursor{rows: r})
	}
	return nil
}

// next reads the next row of the arm; false at its end.
func (c *cursor) next(ctx context.Context) (bool, error) {
	if c.named != nil {
		return c.named.next(ctx, c.vals[:])
	}
	return c.rows.next(c.vals[:])
}

// close ends the cursors. Their errors were those of reading, and are known.
func (f *fileRows) close() {
	for _, c := range f.cursors {
		if c.named != nil {
			c.named.close()
		} else {
			c.rows.close()
		}
	}
	f.cursors = nil
}

// peek returns the next row, nil at the end. It is valid until the next peek
// after it was taken.
func (f *fileRows) peek() (*item, error) {
	for f.next >= len(f.run) {
		more, err := f.load()
		if err != nil || !more {
			return nil, err
		}
		if f.left != nil && len(f.run) == 0 {
			if f.passed(f.last); *f.left <= 0 {
				return nil, errPause
			}
		}
	}
	return &f.run[f.next], nil
}

// take passes over the row that peek returned.
func (f *fileRows) take() { f.next++ }

// load reads the next run, without the rows that are not wanted; false at the
// end.
func (f *fileRows) load() (bool, error) {
	clear(f.run)
	f.run, f.next = f.run[:0], 0
	first, last := true, int64(0)
	defer func() { f.last = last }()
	for {
		c, err := f.first()
		if err != nil {
			return false, err
		}
		if c == nil && first && f.more != nil {
			more, err := f.more()
			if err != nil {
				return false, err
			}
			if more {
				continue
			}
		}
		if c == nil || !first && f.ends(last, c.key) {
			break
		}
		first, last = false, c.key
		c.held = false
		if err := f.add(c); err != nil {
			return false, err
		}
		if c.vals[columnCount] == int64(0) {
			break
		}
	}
	if len(f.run) > 1 {
		slices.SortFunc(f.run, func(a, b item) int {
			if f.oldest {
				return a.key.Compare(b.key)
			}
			return b.key.Compare(a.key)
		})
	}
	return !first, nil
}

// ends reports whether a run surely ends between two keys that follow each
// other in a scan.
func (f *fileRows) ends(last, next int64) bool {
	return last>>slotBits != next>>slotBits || f.whole && last-next != 1 && next-last != 1
}

// add appends the cursor's row to the run if it is wanted.
func (f *fileRows) add(c *cursor) error {
	f.run = append(f.run, item{from: f})
	it := &f.run[len(f.run)-1]
	key, detail, residue, err := decodeRow(c.vals[:columnCount], f.day, &it.inv)
	if err != nil {
		return err
	}
	it.key = task.Key{At: keyTime(f.day, key), Hash: task.HashID(it.inv.TaskID), ID: it.inv.TaskID}
	it.detail, it.residue = detail, residue
	wanted, err := f.wanted(&it.key)
	if wanted && f.match != nil {
		wanted, err = f.match(it)
	}
	if f.left != nil {
		*f.left--
	}
	if !wanted {
		f.run = f.run[:len(f.run)-1]
	}
	return err
}

// first is the cursor whose row comes first, nil at the end. It reads a row of
// a cursor only when that is needed: the next match may be far away.
func (f *fileRows) first() (*cursor, error) {
	var best *cursor
	for _, c := range f.cursors {
		if !c.held && !c.done {
			ok, err := c.next(f.ctx)
			if err != nil {
				return nil, err
			}
			c.held, c.done = ok, !ok
			if ok {
				if c.key, ok = c.vals[0].(int64); !ok {
					return nil, errRow
				}
			}
		}
		if c.held && (best == nil || (cmp.Compare(c.key, best.key) < 0) == f.oldest) {
			best = c
		}
	}
	return best, nil
}

// details reads the chunks of the file.
func (f *fileRows) details() *chunkReader {
	if f.chunks == nil {
		f.chunks = newChunkReader(chunkMemory)
	}
	return f.chunks
}

// complete finishes a row for who asked: its details if they are wanted, and
// what Merge needs.
func (it *item) complete(ctx context.Context, details bool) error {
	f := it.from
	if details && it.detail >= 0 {
		if err := f.details().details(ctx, f.c, f.schema, it.detail, &it.inv); err != nil {
			return err
		}
	}
	return it.inv.Restore(it.residue)
}

// runEnd is the first free key at or behind a key: a row whose natural key is
// not greater stands before it.
func runEnd(ctx context.Context, c *conn, schema string, key int64) (int64, error) {
	r, err := c.query(ctx, "SELECT key FROM "+schema+".invocation WHERE key >= ? ORDER BY key", key)
	if err != nil {
		return 0, err
	}
	var vals [1]driver.Value
	for {
		ok, err := r.next(vals[:])
		if !ok || err != nil || vals[0] != key {
			return key, errors.Join(err, r.close())
		}
		key++
	}
}

// blame makes an error of reading one file a *fileError, unless the reader was
// interrupted.
func blame(ctx context.Context, path string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("reading %s: %w", path, cause)
	}
	var fe *fileError
	if errors.As(err, &fe) {
		return err
	}
	return &fileError{path: path, err: err}
}
