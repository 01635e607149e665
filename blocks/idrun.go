package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"slices"
)

// Ids of a live file are found through runs: each cut writes one sorted run of
// (hash, key) entries, packed idPageEntries to a BLOB, and runs are merged
// (idmerge.go). The first hash of every page is in memory. An index on a random
// task_id would rewrite a page per row instead (docs/adr/0004-block-format.md).
const (
	entryBytes    = 16
	idPageEntries = 252 // 4032 bytes: two such BLOBs fit a page of 8 KiB
)

// entry says that a row of that hash (of) may be at that key. Entries are never
// removed: whoever follows one compares the task_id.
type entry struct {
	of  uint64
	key int64
}

func (e entry) compare(o entry) int {
	if c := cmp.Compare(e.of, o.of); c != 0 {
		return c
	}
	return cmp.Compare(e.key, o.key)
}

// idRun is one run; its pages have consecutive ids from page on.
type idRun struct {
	run    int64
	level  int
	page   int64
	fences []uint64 // first hash of each page
	last   uint64   // the greatest hash
}

// has reports whether entries of a hash can be in the run.
func (r *idRun) has(hash uint64) bool { return r.fences[0] <= hash && hash <= r.last }

// idIndex is the state of all runs after some transaction. It is never changed
// in place. top is the greatest page id: no transaction changes id_page
// without raising it, so that it names the state.
type idIndex struct {
	top    int64
	runs   []*idRun // in the order of their pages, the newest last
	merges idMerges
}

// find calls fn with the keys of entries of a hash, newest run first, until it
// returns true. page reads a page of id_page.
func (x *idIndex) find(page func(id int64) ([]byte, error), hash uint64, fn func(key int64) (bool, error)) error {
	for i := len(x.runs) - 1; i >= 0; i-- {
		r := x.runs[i]
		if !r.has(hash) {
			continue
		}
		p, _ := slices.BinarySearch(r.fences, hash)
		for p = max(p-1, 0); p < len(r.fences) && r.fences[p] <= hash; p++ {
			data, err := page(r.page + int64(p))
			if err != nil {
				return err
			}
			for e := searchPage(data, hash); e < len(data)/entryBytes; e++ {
				entry := pageEntry(data, e)
				if entry.of != hash {
					break
				}
				if done, err := fn(entry.key); done || err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func pageEntry(data []byte, i int) entry {
	b := data[i*entryBytes:]
	return entry{binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))}
}

// searchPage is the index of the first entry with at least that hash.
func searchPage(data []byte, hash uint64) int {
	lo, hi := 0, len(data)/entryBytes
	for lo < hi {
		if mid := (lo + hi) / 2; binary.BigEndian.Uint64(data[mid*entryBytes:]) < hash {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// readIDPage reads one page of the main schema.
func readIDPage(ctx context.Context, c *conn, id int64) ([]byte, error) {
	var vals [1]driver.Value
	ok, err := c.queryRow(ctx, vals[:], "SELECT data FROM id_page WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	data, _ := vals[0].([]byte)
	if !ok || !validIDPage(data) {
		return nil, fmt.Errorf("id page %d: %w", id, errRow)
	}
	return data, nil
}

// keptPages is how many id pages are kept, 64 MiB: rows in key order ask for
// pages at random.
const keptPages = 1 << 14

// cachedPages reads id pages and keeps some.
func cachedPages(ctx context.Context, c *conn, keep int) func(id int64) ([]byte, error) {
	pages := map[int64][]byte{}
	return func(id int64) ([]byte, error) {
		if data := pages[id]; data != nil {
			return data, nil
		}
		if len(pages) >= keep {
			clear(pages)
		}
		data, err := readIDPage(ctx, c, id)
		if err == nil {
			pages[id] = data
		}
		return data, err
	}
}

func validIDPage(data []byte) bool {
	return len(data) > 0 && len(data)%entryBytes == 0 && len(data) <= idPageEntries*entryBytes
}

// loadIDs reads the runs of a file and calls fn with every hash.
func loadIDs(ctx context.Context, c *conn, fn func(hash uint64)) (*idIndex, error) {
	x := &idIndex{merges: boundedIDMerges}
	err := c.each(ctx, 4, func(vals []driver.Value) error {
		id, ok1 := vals[0].(int64)
		run, ok2 := vals[1].(int64)
		level, ok3 := vals[2].(int64)
		data, ok4 := vals[3].([]byte)
		if !ok1 || !ok2 || !ok3 || !ok4 || !validIDPage(data) || level < 0 || level > maxIDLevel {
			return errRow
		}
		var r *idRun
		if n := len(x.runs); n > 0 && x.runs[n-1].run == run {
			r = x.runs[n-1]
			if r.page+int64(len(r.fences)) != id {
				return errRow
			}
		} else {
			r = &idRun{run: run, level: int(level), page: id}
			x.runs = append(x.runs, r)
		}
		r.fences = append(r.fences, binary.BigEndian.Uint64(data))
		for i := range len(data) / entryBytes {
			of := pageEntry(data, i).of
			if of < r.last { // ids of such a run would be taken for new ones
				return errRow
			}
			r.last = of
			fn(of)
		}
		x.top = id
		return nil
	}, "SELECT id, run, level, data FROM id_page ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("reading the id pages: %w", err)
	}
	return x, nil
}

// idWriter writes one run.
type idWriter struct {
	c    *conn
	r    *idRun
	page []byte
	last entry
}

func newIDWriter(c *conn, x *idIndex, level int) *idWriter {
	return &idWriter{c: c, r: &idRun{run: x.top + 1, level: level, page: x.top + 1}, page: make([]byte, 0, idPageEntries*entryBytes)}
}

// add appends an entry, which is not less than those before; a repeated one is
// left out.
func (w *idWriter) add(e entry) error {
	if e == w.last && (len(w.page) > 0 || len(w.r.fences) > 0) {
		return nil
	}
	w.last = e
	w.page = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(w.page, e.of), uint64(e.key))
	if len(w.page) == cap(w.page) {
		return w.flush()
	}
	return nil
}

func (w *idWriter) flush() error {
	if len(w.page) == 0 {
		return nil
	}
	id := w.r.page + int64(len(w.r.fences))
	w.r.fences = append(w.r.fences, binary.BigEndian.Uint64(w.page))
	err := w.c.exec("INSERT INTO id_page (id, run, level, data) VALUES (?, ?, ?, ?)", id, w.r.run, int64(w.r.level), w.page)
	w.page = w.page[:0]
	return err
}

// with writes sorted entries as a run, merges what is due, and returns the new
// state. Nothing of it holds unless the transaction commits.
func (x *idIndex) with(ctx context.Context, c *conn, entries []entry) (*idIndex, error) {
	if len(entries) == 0 {
		return x, nil
	}
	y := x.without(nil)
	w := newIDWriter(c, y, 0)
	for _, e := range entries {
		if err := w.add(e); err != nil {
			return nil, err
		}
	}
	if err := y.take(w); err != nil {
		return nil, err
	}
	if due := y.due(); due != nil {
		return y.merge(ctx, c, due)
	}
	return y, nil
}

// without is a state of its own that lacks some runs.
func (x *idIndex) without(gone []*idRun) *idIndex {
	y := &idIndex{top: x.top, merges: x.merges, runs: make([]*idRun, 0, len(x.runs)+1)}
	for _, r := range x.runs {
		if !slices.Contains(gone, r) {
			y.runs = append(y.runs, r)
		}
	}
	return y
}

// take ends the writer's run, which becomes the newest one, in a state that
// nobody else has yet.
func (x *idIndex) take(w *idWriter) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.r.last = w.last.of
	x.top = w.r.page + int64(len(w.r.fences)) - 1
	x.runs = append(x.runs, w.r)
	return nil
}
