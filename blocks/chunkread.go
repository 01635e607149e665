package blocks

import (
	"container/list"
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"daybook/tsdb/task"
)

// chunkReader reads details from the chunks of one attached file and keeps the
// ones used last. It belongs to one connection's user; not for concurrent use.
type chunkReader struct {
	limit int // bytes of decompressed chunks kept, beyond the one in use
	bytes int
	byID  map[int64]*list.Element
	used  *list.List // of *heldChunk, newest use in front
}

type heldChunk struct {
	id int64
	*chunk
}

// newChunkReader keeps up to limit bytes of decompressed chunks.
func newChunkReader(limit int) *chunkReader {
	return &chunkReader{limit: limit, byID: map[int64]*list.Element{}, used: list.New()}
}

// texts returns the details at a place (chunk*chunkRows+index) of a schema.
// They share the chunk's memory.
func (r *chunkReader) texts(ctx context.Context, c *conn, schema string, detail int64) (chunkTexts, error) {
	ch, err := r.chunk(ctx, c, schema, detail/chunkRows)
	if err != nil {
		return chunkTexts{}, err
	}
	t, err := ch.row(int(detail % chunkRows))
	if err != nil {
		return t, fmt.Errorf("chunk %d of %s: %w", detail/chunkRows, schema, err)
	}
	return t, nil
}

// details sets the long fields of v from a place; -1 is nowhere, v has none.
// The texts are copies: a page of rows does not hold whole chunks.
func (r *chunkReader) details(ctx context.Context, c *conn, schema string, detail int64, v *task.Invocation) error {
	if detail < 0 {
		return nil
	}
	t, err := r.texts(ctx, c, schema, detail)
	if err != nil {
		return err
	}
	for i := range t {
		t[i] = strings.Clone(t[i])
	}
	t.set(v)
	return nil
}

func (r *chunkReader) chunk(ctx context.Context, c *conn, schema string, id int64) (*chunk, error) {
	if e := r.byID[id]; e != nil {
		r.used.MoveToFront(e)
		return e.Value.(*heldChunk).chunk, nil
	}
	var vals [1]driver.Value
	ok, err := c.queryRow(ctx, vals[:], "SELECT data FROM "+schema+".chunk WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	data, _ := vals[0].([]byte)
	if !ok {
		return nil, fmt.Errorf("chunk %d of %s is missing: %w", id, schema, errChunk)
	}
	ch, err := decodeChunk(data)
	if err != nil {
		return nil, fmt.Errorf("chunk %d of %s: %w", id, schema, err)
	}
	r.byID[id] = r.used.PushFront(&heldChunk{id, ch})
	r.bytes += ch.size()
	for r.bytes > r.limit && r.used.Len() > 1 {
		old := r.used.Remove(r.used.Back()).(*heldChunk)
		delete(r.byID, old.id)
		r.bytes -= old.size()
	}
	return ch, nil
}
