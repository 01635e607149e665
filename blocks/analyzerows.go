package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"daybook/tsdb/task"
)

// rowAnalysis reads the rows of one file in order and estimates what they take.
type rowAnalysis struct {
	a      *Analysis
	c      *conn
	day    task.Day
	chunks map[int64]*chunkUse
	rows   int64
	open   int64 // rows in the indexes by state
	bytes  int64 // of rows
	index  int64 // bytes of index entries by state
	byName int64 // and by name, as they are in versions 1 and 2
	ids    int64 // of those by task_id, as they are in version 1
}

// maxChunkUses bounds the chunks that are remembered: 2.5 KiB each. Rows of one
// cut are in order, so that a few chunks a cut are enough.
const maxChunkUses = 4096

// chunkUse is what is remembered of a chunk: sizes, no texts.
type chunkUse struct {
	lengths *chunk // its text is gone
	stored  int64
	total   int64
}

// run reads every row.
func (r *rowAnalysis) run(ctx context.Context, sums *[4]*uses) error {
	by := [4]byID{{}, {}, {}, {}}
	err := r.c.each(ctx, columnCount, func(vals []driver.Value) error {
		return r.add(ctx, vals, &by)
	}, "SELECT "+columns+" FROM invocation ORDER BY key")
	for i, table := range dictTables {
		if err == nil {
			err = by[i].into(ctx, r.c, table, sums[i])
		}
	}
	return err
}

func (r *rowAnalysis) add(ctx context.Context, vals []driver.Value, by *[4]byID) error {
	key, ok := vals[colKey].(int64)
	if !ok {
		return errRow
	}
	u := Use{Rows: 1, RowBytes: recordBytes(vals[1:]) + int64(varintBytes(key)) + 4}
	var fields [chunkFields]int64
	if detail, ok := vals[colDetail].(int64); ok {
		ch, err := r.chunk(ctx, detail/chunkRows)
		if err != nil {
			return err
		}
		if fields, err = ch.of(int(detail % chunkRows)); err != nil {
			return fmt.Errorf("key %d: %w", key, err)
		}
		for i, n := range fields {
			u.DetailBytes += n
			r.a.Fields[i] += n
		}
		if ch.total > 0 {
			u.DetailStored = (u.DetailBytes*ch.stored + ch.total/2) / ch.total
		}
	}
	r.rows++
	r.bytes += u.RowBytes
	// Entries of invocation_name, and of the two by state, whose state is 1 byte.
	entry := 6 + valueBytes(vals[2]) + valueBytes(key)
	if r.byName += entry; vals[3] != int64(task.StateSuccess) {
		r.open++
		r.index += entry + 2 + 7 + valueBytes(key)
	}
	r.ids += 6 + valueBytes(vals[1]) + valueBytes(key)
	r.a.All.add(&u)
	for i, col := range dictColumns {
		id, _ := vals[col].(int64)
		by[i].add(id, &u)
	}
	return r.a.large(&u, func() (LargeRow, error) {
		id, err := scanID(vals[1])
		if err != nil {
			return LargeRow{}, err
		}
		name, _ := vals[2].(int64)
		text, err := dictName(ctx, r.c, dictTables[0], name)
		state, _ := vals[3].(int64)
		return LargeRow{TaskID: id, TaskName: text, State: task.State(state), At: keyTime(r.day, key), Fields: fields}, err
	})
}

func (r *rowAnalysis) chunk(ctx context.Context, id int64) (*chunkUse, error) {
	if u := r.chunks[id]; u != nil {
		return u, nil
	}
	var vals [1]driver.Value
	if _, err := r.c.queryRow(ctx, vals[:], "SELECT data FROM chunk WHERE id = ?", id); err != nil {
		return nil, err
	}
	data, _ := vals[0].([]byte)
	ch, err := decodeChunk(data)
	if err != nil {
		return nil, fmt.Errorf("chunk %d: %w", id, err)
	}
	u := &chunkUse{lengths: ch, stored: int64(len(data)), total: int64(len(ch.text))}
	ch.text = ""
	if len(r.chunks) >= maxChunkUses {
		clear(r.chunks)
	}
	r.chunks[id] = u
	return u, nil
}

// of are the lengths of one row's fields.
func (u *chunkUse) of(row int) (out [chunkFields]int64, err error) {
	if row < 0 || row >= u.lengths.rows() {
		return out, errChunk
	}
	before := uint32(0)
	for f, ends := range u.lengths.ends {
		if row > 0 {
			before = ends[row-1]
		}
		out[f] = int64(ends[row] - before)
		before = ends[len(ends)-1]
	}
	return out, nil
}

// recordBytes is what SQLite needs for the values of a row whose first column
// is the key: a byte of type for each, longer ones for long texts, and the
// values.
func recordBytes(vals []driver.Value) int64 {
	n := int64(2) // length of the header, and the type of the key
	for _, v := range vals {
		n++
		size := valueBytes(v)
		if n += size; size >= 58 { // a type of two bytes: 12 + 2 * size
			n++
		}
	}
	return n
}

// valueBytes is the size of one value in a record.
func valueBytes(v driver.Value) int64 {
	switch x := v.(type) {
	case int64:
		if x < 0 {
			x = -x - 1
		}
		switch {
		case x <= 1 && v != int64(-1) && v != int64(-2):
			return 0
		case x < 1<<7:
			return 1
		case x < 1<<15:
			return 2
		case x < 1<<23:
			return 3
		case x < 1<<31:
			return 4
		case x < 1<<47:
			return 6
		}
		return 8
	case string:
		return int64(len(x))
	case []byte:
		return int64(len(x))
	}
	return 0
}

// varintBytes is the size of a key in front of its record.
func varintBytes(v int64) int {
	n := 1
	for u := uint64(v); u >= 0x80 && n < 9; u >>= 7 {
		n++
	}
	return n
}

// parts estimates what the file consists of. SQLite is not built with the
// table (dbstat) that would count pages: what values and index entries take is
// added up, and what is left is page overhead, space that is not filled, and
// the error of the estimate.
func (r *rowAnalysis) parts(ctx context.Context, kind string) ([]Part, error) {
	parts := []Part{
		{"rows", r.rows, r.bytes, true},
		{"indexes by state", 2 * r.open, r.index, true},
	}
	blobs := []struct{ name, from, size string }{
		{"details (compressed)", "chunk", "length(data)"},
		{"rollups", "rollup", "length(data) + 16"},
		{"names", "(SELECT name FROM task_name UNION ALL SELECT name || worker_group FROM worker UNION ALL SELECT name FROM queue UNION ALL SELECT name FROM exception)", "2 * length(CAST(name AS BLOB)) + 12"},
		{"moved ids", "moved", "length(task_id) + 12"},
	}
	if kind == kindLive {
		blobs = append(blobs, struct{ name, from, size string }{"index by task_id", "id_page", "length(data)"},
			struct{ name, from, size string }{"hidden sealed ids", "mask", "length(task_id) + 4"})
	} else {
		blobs = append(blobs, struct{ name, from, size string }{"id filter", "id_filter", "length(bits)"})
		if paged, err := hasTable(ctx, r.c, "main", "id_index"); err != nil {
			return nil, err
		} else if paged {
			blobs = append(blobs, struct{ name, from, size string }{"index by task_id", "id_index", "length(data)"})
		} else {
			parts = append(parts, Part{"index by task_id", r.rows, r.ids, true})
		}
	}
	if named, err := hasTable(ctx, r.c, "main", "name_page"); err != nil {
		return nil, err
	} else if named {
		blobs = append(blobs, struct{ name, from, size string }{"index by name", "name_page", "length(data)"})
	} else {
		parts = append(parts, Part{"index by name", r.rows, r.byName, true})
	}
	if words, err := hasTable(ctx, r.c, "main", "word_page"); err != nil {
		return nil, err
	} else if words { // a version wrote files without
		blobs = append(blobs, struct{ name, from, size string }{"word filters", "(SELECT data FROM word_page UNION ALL SELECT spans FROM word_group)", "length(data) + 12"})
	}
	var vals [3]driver.Value
	number := func(i int) int64 { n, _ := vals[i].(int64); return n }
	for _, b := range blobs {
		if _, err := r.c.queryRow(ctx, vals[:2], "SELECT count(*), ifnull(sum("+b.size+"), 0) FROM "+b.from); err != nil {
			return nil, err
		}
		parts = append(parts, Part{b.name, number(0), number(1), true})
	}
	if _, err := r.c.queryRow(ctx, vals[:], "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"); err != nil {
		return nil, err
	}
	left := (number(0) - number(1)) * number(2)
	parts = append(parts, Part{"free pages", number(1), number(1) * number(2), false})
	for _, p := range parts[:len(parts)-1] {
		left -= p.Bytes
	}
	parts = append(parts, Part{"page overhead and unfilled space", number(0), max(left, 0), true})
	parts = slices.DeleteFunc(parts, func(p Part) bool { return p.Bytes == 0 })
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return parts, nil
}
