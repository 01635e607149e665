package tsdb

import (
	"sync"

	"daybook/head"
	"daybook/tsdb/task"
)

// encoding is the log records of a request, all in one buffer that is used
// again: the log copies them. One by one they were seven allocations each, half
// of what ingest allocated.
type encoding struct {
	buf     []byte
	ends    []int
	records [][]byte
}

// spareEncoding bounds the buffer that is kept for another request.
const spareEncoding = 1 << 20

var encodings = sync.Pool{New: func() any { return new(encoding) }}

// encode makes the log records of invocations. Give it back when they are logged.
func encode(invs []*task.Invocation) *encoding {
	e, _ := encodings.Get().(*encoding)
	e.buf, e.ends, e.records = e.buf[:0], e.ends[:0], e.records[:0]
	for _, v := range invs {
		e.buf = head.AppendEvent(e.buf, v)
		e.ends = append(e.ends, len(e.buf))
	}
	from := 0
	for _, end := range e.ends { // now that the buffer stays where it is
		e.records = append(e.records, e.buf[from:end:end])
		from = end
	}
	return e
}

func (e *encoding) giveBack() {
	if cap(e.buf) <= spareEncoding {
		encodings.Put(e)
	}
}
