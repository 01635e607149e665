package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"daybook/tsdb/task"
)

// sealSource reads the rows of one source in task.Key order, as they are
// stored: a build copies columns, it does not interpret them.
type sealSource struct {
	c      *conn
	day    task.Day
	rows   rows
	chunks *chunkReader
	names  [4][]string // of the dictionaries
	ids    *Live       // of a live source: which ids it has
	index  *idIndex    // as its read transaction sees it

	remap [4][]int64 // dictionary ids here to ids in the new file; 0 not known yet
	group []sealRow  // rows of adjacent keys, in order
	pos   int
	ahead sealRow // the row behind the group
	more  bool    // whether there is one
}

// sealRow is a stored row.
type sealRow struct {
	at   task.Key
	key  int64
	vals [columnCount]driver.Value
}

// The columns of encodeRow that a build changes.
const (
	colKey    = 0
	colDetail = 13
)

// dictColumns are the places of the dictionary ids, in the order of dictTables.
var dictColumns = [4]int{2, 9, 10, 11}

func openSource(ctx context.Context, path string, mode fileMode, day task.Day) (*sealSource, error) {
	c, err := openFile(path, mode)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &sealSource{c: c, day: day, chunks: newChunkReader(sealChunkCache)}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(openError(path, err), s.close())
	}
	return s, nil
}

// begin starts the read transaction, reads the dictionaries and the first row.
func (s *sealSource) begin(ctx context.Context) (err error) {
	if err := s.c.exec("BEGIN"); err != nil {
		return err
	}
	for i, table := range dictTables {
		if s.names[i], err = loadNames(ctx, s.c, table); err != nil {
			return err
		}
		s.remap[i] = make([]int64, len(s.names[i]))
	}
	if s.rows, err = s.c.query(ctx, "SELECT "+columns+" FROM invocation ORDER BY key"); err != nil {
		return err
	}
	return s.read(&s.ahead)
}

func (s *sealSource) close() error {
	var err error
	if s.rows.r != nil {
		err = s.rows.close()
	}
	return errors.Join(err, s.c.close())
}

// read reads the next stored row.
func (s *sealSource) read(row *sealRow) (err error) {
	if s.more, err = s.rows.next(row.vals[:]); err != nil || !s.more {
		return err
	}
	key, ok := row.vals[colKey].(int64)
	id, err := scanID(row.vals[1])
	if !ok || err != nil {
		return errRow
	}
	row.key = key
	row.at = task.Key{At: keyTime(s.day, key), Hash: task.HashID(id), ID: id}
	return nil
}

// next returns the next row in order; nil at the end. It is valid until the
// call after. Rows with adjacent keys may be displaced (schema.go), so that
// their order is that of their task.Key; a gap in the keys separates.
func (s *sealSource) next() (*sealRow, error) {
	if s.pos == len(s.group) {
		s.group, s.pos = s.group[:0], 0
		for s.more && (len(s.group) == 0 || s.ahead.key == s.group[len(s.group)-1].key+1) {
			s.group = append(s.group, s.ahead)
			if err := s.read(&s.ahead); err != nil {
				return nil, err
			}
		}
		if len(s.group) == 0 {
			return nil, nil
		}
		if len(s.group) > 1 {
			slices.SortFunc(s.group, func(a, b sealRow) int { return a.at.Compare(b.at) })
		}
	}
	s.pos++
	return &s.group[s.pos-1], nil
}

// has reports whether a live source has a row of an id, as its transaction
// sees it.
func (s *sealSource) has(ctx context.Context, hash uint64, id string) (found bool, err error) {
	if !s.ids.MayContain(hash) {
		return false, nil
	}
	if s.index == nil {
		if s.index, err = loadIDs(ctx, s.c, func(uint64) {}); err != nil {
			return false, err
		}
	}
	page := func(id int64) ([]byte, error) { return readIDPage(ctx, s.c, id) }
	err = s.index.find(page, hash, func(key int64) (bool, error) {
		found, err = hasRow(ctx, s.c, key, id)
		return found, err
	})
	return found, err
}

// hasRow reports whether the row of a key is that of an id.
func hasRow(ctx context.Context, c *conn, key int64, id string) (bool, error) {
	var vals [1]driver.Value
	found, err := c.queryRow(ctx, vals[:], "SELECT task_id FROM invocation WHERE key = ?", key)
	if !found || err != nil {
		return false, err
	}
	stored, err := scanID(vals[0])
	return stored == id, err
}

// merge copies the rows of both sources in order.
func (b *builder) merge(ctx context.Context) error {
	next := func(s *sealSource) (*sealRow, error) {
		if s == nil {
			return nil, nil
		}
		return s.next()
	}
	l, err := next(b.live)
	if err != nil {
		return err
	}
	s, err := next(b.sealed)
	for ; err == nil && (l != nil || s != nil); err = errors.Join(err, ctx.Err()) {
		if s == nil || l != nil && l.at.Compare(s.at) <= 0 {
			if err = b.copy(ctx, b.live, l); err == nil {
				l, err = next(b.live)
			}
			continue
		}
		var hidden bool
		if hidden, err = b.hidden(ctx, s.at); err != nil {
			break
		}
		if !hidden {
			if err = b.copy(ctx, b.sealed, s); err != nil {
				break
			}
		}
		s, err = next(b.sealed)
	}
	if err == nil {
		err = b.flush(ctx)
	}
	if err == nil {
		err = b.flushDetails()
	}
	if err == nil {
		err = b.words.flush(b.out)
	}
	if err == nil {
		err = b.rollups.finish(b.out, b.in.Day)
	}
	return err
}

// hidden reports whether a row of the previous generation is superseded.
func (b *builder) hidden(ctx context.Context, at task.Key) (bool, error) {
	if b.mask.Has(at.Hash, at.ID) || b.in.MaskedBy != nil && b.in.MaskedBy(at.ID) {
		return true, nil
	}
	if b.live == nil {
		return false, nil
	}
	return b.live.has(ctx, at.Hash, at.ID)
}

// copy writes one row of a source.
func (b *builder) copy(ctx context.Context, from *sealSource, row *sealRow) error {
	key := naturalKey(b.in.Day, row.at)
	if b.count == 0 {
		b.first = key
	} else if key <= b.last {
		key = b.last + 1
	}
	b.last = key
	b.count++
	b.filter.add(row.at.Hash)
	b.crowds.add(key)
	if err := b.ids.add(entry{row.at.Hash, key}); err != nil {
		return err
	}
	args := b.rows.next()
	for i := range args {
		args[i].Value = row.vals[i]
	}
	args[colKey].Value = key
	for i, col := range dictColumns {
		id, err := b.translate(from, i, row.vals[col])
		if err != nil {
			return fmt.Errorf("key %d: %w", row.key, err)
		}
		args[col].Value = orNull(id)
		if i == 0 {
			if err := b.names.add(entry{uint64(min(id, nameTop)), tickOf(row.at.At - b.in.Day.Start())}); err != nil {
				return err
			}
		}
	}
	if _, moved := b.taken[row.at.ID]; moved {
		b.taken[row.at.ID] = true
	}
	var v task.Invocation
	if err := b.countRow(from, row, args[dictColumns[0]].Value, &v); err != nil {
		return fmt.Errorf("key %d: %w", row.key, err)
	}
	at := int64(-1)
	if detail, ok := row.vals[colDetail].(int64); ok {
		t, err := from.chunks.texts(ctx, from.c, "main", detail)
		if err != nil {
			return fmt.Errorf("key %d: %w", row.key, err)
		}
		t.set(&v)
		at = (b.chunk+1)*chunkRows + int64(b.details.rows)
		args[colDetail].Value = at
		if b.details.add(&t); b.details.full() {
			if err := b.flushDetails(); err != nil {
				return err
			}
		}
	}
	if err := b.words.add(b.out, &v, row.at.At, at); err != nil {
		return err
	}
	if b.rows.n++; b.rows.n == insertRows {
		return b.flush(ctx)
	}
	return nil
}

// countRow decodes a row, without its details, and adds it to the rollups; name
// is its id in the new file.
func (b *builder) countRow(from *sealSource, row *sealRow, name driver.Value, v *task.Invocation) error {
	texts := row.vals
	for i, col := range dictColumns {
		if id, ok := texts[col].(int64); ok {
			texts[col] = from.names[i][id] // translate has checked it
		}
	}
	if _, _, _, err := decodeRow(texts[:], b.in.Day, v); err != nil {
		return err
	}
	id, _ := name.(int64)
	return b.rollups.add(b.out, v, id)
}

// translate is the new file's id of a source's dictionary entry.
func (b *builder) translate(from *sealSource, table int, v driver.Value) (int64, error) {
	if v == nil {
		return 0, nil
	}
	id, ok := v.(int64)
	remap := from.remap[table]
	if !ok || id < 1 || id >= int64(len(remap)) {
		return 0, errRow
	}
	if remap[id] == 0 {
		var err error
		if remap[id], err = b.dicts[table].id(b.out, from.names[table][id]); err != nil {
			return 0, err
		}
	}
	return remap[id], nil
}

func (b *builder) flush(ctx context.Context) error {
	if b.in.Rest != nil {
		b.in.Rest(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.rows.flush(b.out, func(int) (int64, error) { return 0, errRow })
}

func (b *builder) flushDetails() error {
	if b.details.rows == 0 {
		return nil
	}
	var err error
	if b.encoded, err = b.details.take(b.encoded[:0]); err != nil {
		return err
	}
	b.chunk++
	return b.out.exec("INSERT INTO chunk (id, data) VALUES (?, ?)", b.chunk, b.encoded)
}
