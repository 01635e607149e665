package blocks

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// sortRun is how many entries are sorted in memory: 16 MiB. A longer list is
// sorted in runs that are merged from a file.
const sortRun = 1 << 20

// entrySorter puts the ids of a build in the order of their hashes, or the times
// of names in the order of names. Close it.
type entrySorter struct {
	dir   string // of the file
	limit int
	count int64
	batch []entry
	file  *os.File // of runs, entries of entryBytes; has no name any more
	ends  []int64  // of the runs
}

func newEntrySorter(dir string) *entrySorter { return &entrySorter{dir: dir, limit: sortRun} }

func (s *entrySorter) add(e entry) error {
	s.count++
	if s.batch = append(s.batch, e); len(s.batch) < s.limit {
		return nil
	}
	return s.spill()
}

// spill writes the batch as a run.
func (s *entrySorter) spill() (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.dir, "seal-*.sort"); err != nil {
			return err
		}
		if err := os.Remove(s.file.Name()); err != nil {
			return err
		}
	}
	slices.SortFunc(s.batch, entry.compare)
	w := bufio.NewWriterSize(s.file, 1<<16)
	var b [entryBytes]byte
	for _, e := range s.batch {
		binary.BigEndian.PutUint64(b[:], e.of)
		binary.BigEndian.PutUint64(b[8:], uint64(e.key))
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	end := int64(len(s.batch)) * entryBytes
	if len(s.ends) > 0 {
		end += s.ends[len(s.ends)-1]
	}
	s.ends = append(s.ends, end)
	s.batch = s.batch[:0]
	return w.Flush()
}

// each calls fn with all entries in order.
func (s *entrySorter) each(fn func(entry) error) error {
	if s.file == nil {
		slices.SortFunc(s.batch, entry.compare)
		for _, e := range s.batch {
			if err := fn(e); err != nil {
				return err
			}
		}
		return nil
	}
	if len(s.batch) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	var runs sortedRuns
	from := int64(0)
	for _, end := range s.ends {
		r := &sortedRun{r: bufio.NewReaderSize(io.NewSectionReader(s.file, from, end-from), 1<<16)}
		if ok, err := r.next(); err != nil {
			return err
		} else if ok {
			runs = append(runs, r)
		}
		from = end
	}
	heap.Init(&runs)
	for len(runs) > 0 {
		if err := fn(runs[0].e); err != nil {
			return err
		}
		ok, err := runs[0].next()
		switch {
		case err != nil:
			return err
		case ok:
			heap.Fix(&runs, 0)
		default:
			heap.Pop(&runs)
		}
	}
	return nil
}

func (s *entrySorter) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// sortedRun is read from the file.
type sortedRun struct {
	r *bufio.Reader
	e entry
}

func (r *sortedRun) next() (bool, error) {
	var b [entryBytes]byte
	if _, err := io.ReadFull(r.r, b[:]); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("sorting ids: %w", err)
	}
	r.e = entry{binary.BigEndian.Uint64(b[:]), int64(binary.BigEndian.Uint64(b[8:]))}
	return true, nil
}

// sortedRuns is a heap of runs by their next entry.
type sortedRuns []*sortedRun

func (h sortedRuns) Len() int           { return len(h) }
func (h sortedRuns) Less(i, j int) bool { return h[i].e.compare(h[j].e) < 0 }
func (h sortedRuns) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sortedRuns) Push(x any)        { *h = append(*h, x.(*sortedRun)) }
func (h *sortedRuns) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
