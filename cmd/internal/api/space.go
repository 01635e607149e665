package api

import (
	"bufio"
	"io"
	"sync"

	"daybook/tsdb"
	"daybook/tsdb/task"
)

// space is memory that requests that write use one after the other. Without it
// half of what ingest allocates would be the growing of these, and a request of
// one line would cost 20 KB.
type space struct {
	body    *bufio.Reader
	recs    []tsdb.Record
	numbers []int // of the line that each record came from
	lines   task.Parser
}

// spareRecords bounds what a large request leaves behind for the next one: half
// a megabyte.
const spareRecords = 1024

var spaces = sync.Pool{New: func() any { return &space{body: bufio.NewReaderSize(nothing{}, readBuffer)} }}

func takeSpace() *space {
	s, _ := spaces.Get().(*space)
	return s
}

// giveBack lets go of everything that belongs to a request.
func (s *space) giveBack() {
	s.body.Reset(nothing{})
	if cap(s.recs) > spareRecords {
		s.recs, s.numbers = nil, nil
	}
	clear(s.recs) // beyond the length they are zero
	s.recs, s.numbers = s.recs[:0], s.numbers[:0]
	s.lines.Forget()
	spaces.Put(s)
}

// nothing is an empty body.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }
