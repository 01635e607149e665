package blocks

import (
	"container/heap"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Names of a live file are found like its ids: each cut writes one sorted run
// of entries, packed to pages, and runs of one level are merged into one of the
// next: one merge a cut, of a bounded size (docs/adr/0019-bounded-merges.md). A
// walk opens a run when it comes to its times, so that large runs, which each
// have some hours of a day, need no merging. A sealed file has one run.
const (
	nameFanout     = 16   // runs of a level
	nameMergePages = 1024 // 1.8 million entries, 0.15 s
	maxNameLevel   = 64
)

// nameRun is a row of name_run.
type nameRun struct {
	run, level int64
	page       int64 // its pages have consecutive ids from this one on
	pages      int64
	low, high  int64 // low <= tick < high, of all its entries
}

// nameWriter writes the runs of a file. The methods of a nil one do nothing: it
// is that of a live file that was begun with an index instead.
type nameWriter struct {
	runs  []nameRun // what is written, oldest first; never changed in place
	saved []nameRun // what is committed
	// apart are runs one of which is damaged: they are not tried in cut after cut, and
	// keep no others from being merged.
	apart []nameRun
}

// loadNameWriter goes on in a live file; nil if it has no runs.
func loadNameWriter(ctx context.Context, c *conn) (*nameWriter, error) {
	has, err := hasTable(ctx, c, "main", "name_run")
	if err != nil || !has {
		return nil, err
	}
	w := &nameWriter{}
	w.runs, err = loadNameRuns(ctx, c, "main", 0, dayTicks)
	w.saved = w.runs
	return w, err
}

// loadNameRuns reads the runs that have entries in a range of ticks, oldest run
// first.
func loadNameRuns(ctx context.Context, c *conn, schema string, low, high int64) (runs []nameRun, err error) {
	err = c.each(ctx, 6, func(vals []driver.Value) error {
		var r nameRun
		for i, to := range []*int64{&r.run, &r.level, &r.page, &r.pages, &r.low, &r.high} {
			n, ok := vals[i].(int64)
			if !ok {
				return errNameRun
			}
			*to = n
		}
		if r.run < 1 || r.run > 1<<48 || r.level < 0 || r.level > maxNameLevel || r.pages < 1 || r.pages > 1<<32 || r.page < 1 || r.page > 1<<48 || r.low < 0 || r.low >= r.high || r.high > dayTicks {
			return errNameRun
		}
		runs = append(runs, r)
		return nil
	}, nameRunsText(schema), low, high)
	return runs, err
}

func nameRunsText(schema string) string {
	return "SELECT run, level, page, pages, low, high FROM " + schema + ".name_run WHERE high > ? AND low < ? ORDER BY run"
}

var errNameRun = fmt.Errorf("a run of names: %w", errRow)

// cut writes the entries of a cut, in any order, and merges what is to be merged.
func (w *nameWriter) cut(ctx context.Context, c *conn, entries []nameEntry) error {
	if w == nil || len(entries) == 0 {
		return nil
	}
	slices.Sort(entries)
	b := w.begin(c, 0)
	for _, e := range entries {
		if err := b.add(e); err != nil {
			return err
		}
	}
	if err := w.end(b, nil); err != nil {
		return err
	}
	due := w.due()
	if due == nil {
		return nil
	}
	err := w.merge(ctx, c, due)
	if errors.Is(err, errNamePage) {
		// Damage must not stop cuts: queries by name tell of it, and sealing,
		// which does not need the runs, mends it.
		w.apart = append(w.apart, due...)
		return c.exec("DELETE FROM name_page WHERE id >= ?", w.nextPage())
	}
	return err
}

// due are runs to be merged: the oldest of the lowest level that is full, those
// that fit one merge.
func (w *nameWriter) due() []nameRun {
	levels := map[int64][]nameRun{}
	for _, r := range w.runs {
		if !slices.Contains(w.apart, r) {
			levels[r.level] = append(levels[r.level], r)
		}
	}
	for _, level := range slices.Sorted(maps.Keys(levels)) {
		runs, pages := levels[level], int64(0)
		if len(runs) < nameFanout {
			continue
		}
		due := slices.DeleteFunc(runs, func(r nameRun) bool {
			if r.pages > nameMergePages/2 || pages+r.pages > nameMergePages {
				return true
			}
			pages += r.pages
			return false
		})
		if due = due[:min(len(due), nameFanout)]; len(due) > 1 {
			return due
		}
	}
	return nil
}

// nextPage is the first page id that no run has.
func (w *nameWriter) nextPage() int64 {
	if n := len(w.runs); n > 0 {
		return w.runs[n-1].page + w.runs[n-1].pages
	}
	return 1
}

// merge makes some runs into one of the next level.
func (w *nameWriter) merge(ctx context.Context, c *conn, old []nameRun) error {
	b := w.begin(c, min(old[0].level+1, maxNameLevel))
	if err := mergeNames(ctx, c, old, b.add); err != nil {
		return err
	}
	if err := w.end(b, old); err != nil {
		return err
	}
	for _, r := range old {
		if err := c.exec("DELETE FROM name_run WHERE run = ?", r.run); err != nil {
			return err
		}
		if err := c.exec("DELETE FROM name_page WHERE id >= ? AND id < ?", r.page, r.page+r.pages); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a run behind all others.
func (w *nameWriter) begin(c *conn, level int64) *nameRunBuilder {
	run := int64(1)
	if n := len(w.runs); n > 0 {
		run = w.runs[n-1].run + 1
	}
	return &nameRunBuilder{c: c, r: nameRun{run: run, level: level, page: w.nextPage(), low: dayTicks}}
}

// end writes a run in place of some.
func (w *nameWriter) end(b *nameRunBuilder, replaced []nameRun) error {
	r, err := b.finish()
	if err != nil {
		return err
	}
	runs := slices.DeleteFunc(slices.Clone(w.runs), func(r nameRun) bool { return slices.Contains(replaced, r) })
	w.runs = append(runs, r)
	return nil
}

// commit keeps what the transaction wrote, rollback forgets it.
func (w *nameWriter) commit() {
	if w != nil {
		w.saved = w.runs
	}
}

func (w *nameWriter) rollback() {
	if w != nil {
		w.runs = w.saved
	}
}

// nameRunBuilder writes one run.
type nameRunBuilder struct {
	c    *conn
	r    nameRun
	data []byte
	last nameEntry
}

// add takes an entry that is not less than those before; a repeated one is
// left out.
func (b *nameRunBuilder) add(e nameEntry) error {
	if e == b.last && len(b.data) > 0 {
		return nil
	}
	if len(b.data)+binary.MaxVarintLen64 > namePageBytes {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.data = appendName(b.data, b.last, e)
	b.last = e
	b.r.low, b.r.high = min(b.r.low, e.tick()), max(b.r.high, e.tick()+1)
	return nil
}

func (b *nameRunBuilder) flush() error {
	err := b.c.exec("INSERT INTO name_page (id, data) VALUES (?, ?)", b.r.page+b.r.pages, b.data)
	b.r.pages++
	b.data = b.data[:0]
	return err
}

func (b *nameRunBuilder) finish() (nameRun, error) {
	if err := b.flush(); err != nil {
		return b.r, err
	}
	return b.r, b.c.exec("INSERT INTO name_run (run, level, page, pages, low, high) VALUES (?, ?, ?, ?, ?, ?)",
		b.r.run, b.r.level, b.r.page, b.r.pages, b.r.low, b.r.high)
}

// storeNames writes the run of a sealed file.
func storeNames(c *conn, names *entrySorter) error {
	if names.count == 0 {
		return nil
	}
	w := &nameWriter{}
	b := w.begin(c, 0)
	if err := names.each(func(e entry) error { return b.add(entryOf(int64(e.of), e.key)) }); err != nil {
		return err
	}
	return w.end(b, nil)
}

// mergeNames calls fn with the entries of some runs of the main schema, in
// order. Entries of several runs are repeated.
func mergeNames(ctx context.Context, c *conn, runs []nameRun, fn func(nameEntry) error) error {
	var walks nameWalks
	for _, r := range runs {
		k := &nameWalk{c: c, r: r}
		if err := k.fill(ctx); err != nil {
			return err
		}
		walks = append(walks, k)
	}
	heap.Init(&walks)
	for len(walks) > 0 {
		k := walks[0]
		if err := fn(k.entries[0]); err != nil {
			return err
		}
		k.entries = k.entries[1:]
		if err := k.fill(ctx); err != nil {
			return err
		}
		if len(k.entries) > 0 {
			heap.Fix(&walks, 0)
		} else {
			heap.Pop(&walks)
		}
	}
	return nil
}

// nameWalk goes through one run.
type nameWalk struct {
	c       *conn
	r       nameRun
	next    int64 // page
	last    nameEntry
	entries []nameEntry // of the page under way
	page    []nameEntry
}

// fill reads the next page if the one under way is done.
func (k *nameWalk) fill(ctx context.Context) error {
	if len(k.entries) > 0 || k.next == k.r.pages {
		return nil
	}
	data, err := readNamePage(ctx, k.c, "main", k.r.page+k.next)
	if err == nil {
		k.page, err = appendNames(k.page[:0], data)
	}
	if err == nil && k.next > 0 && k.page[0] <= k.last {
		err = fmt.Errorf("it is not in order: %w", errNamePage)
	}
	if err != nil {
		return fmt.Errorf("page %d of the names: %w", k.r.page+k.next, err)
	}
	k.next++
	k.entries, k.last = k.page, k.page[len(k.page)-1]
	return nil
}

// nameWalks is a heap of walks by their next entry.
type nameWalks []*nameWalk

func (h nameWalks) Len() int           { return len(h) }
func (h nameWalks) Less(i, j int) bool { return h[i].entries[0] < h[j].entries[0] }
func (h nameWalks) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *nameWalks) Push(x any)        { *h = append(*h, x.(*nameWalk)) }
func (h *nameWalks) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// readNamePage reads a page of one attached file.
func readNamePage(ctx context.Context, c *conn, schema string, id int64) ([]byte, error) {
	var vals [1]driver.Value
	found, err := c.queryRow(ctx, vals[:], namePageText(schema), id)
	data, _ := vals[0].([]byte)
	if err == nil && !found {
		err = fmt.Errorf("it is missing: %w", errNamePage)
	}
	return data, err
}

func namePageText(schema string) string {
	return "SELECT data FROM " + schema + ".name_page WHERE id = ?"
}
