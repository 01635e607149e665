package blocks

import (
	"container/heap"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"

	"daybook/tsdb/text"
)

// finder is how far a walk has come in one file in which it looks for words or
// for a root. It is kept from one fill to the next, as long as the walk goes on
// where it was.
type finder struct {
	s      *Select
	live   *Live   // the file, one of both
	sealed *Sealed // nil if it is live

	started bool
	ranges  *wordRanges // nil: all rows of the range of time are read, through an index or by key
	at      wordRange   // the range that is being read
	inRange bool
	// done is the key up to which rows have been looked at: those before it in
	// the walk's direction are through.
	done int64
}

// finds reports whether rows are looked for by words or by their root.
func (s *Select) finds() bool { return s.Text != nil || s.Filter.RootID != "" }

func newFinder(s *Select, d DayFiles, live bool) *finder {
	f := &finder{s: s, done: math.MaxInt64}
	if live {
		f.live = d.Live
	} else {
		f.sealed = d.Sealed
	}
	if s.Oldest {
		f.done = math.MinInt64
	}
	return f
}

// open starts the scans of a file for a fill.
func (d *finder) open(ctx context.Context, f *fileRows, r *resolved, keys span, mask string, left *int) error {
	if d.s.Oldest {
		keys.low = max(keys.low, d.done)
	} else {
		keys.high = min(keys.high, d.done)
	}
	f.left = left
	f.passed = func(key int64) {
		if d.done = key; d.s.Oldest {
			d.done++
		}
	}
	if d.s.Text != nil {
		f.match = func(it *item) (bool, error) { return d.match(ctx, it) }
	}
	if !keys.nonEmpty() {
		return nil
	}
	arms, rest := r.arms()
	if err := d.start(ctx, f, arms[0].index != byKey, keys); err != nil {
		return err
	}
	if d.ranges == nil {
		return f.open(ctx, arms, rest, keys, mask)
	}
	arms, rest = r.scan()
	arms[0].whole = false
	f.more = func() (bool, error) { return d.next(ctx, f, arms, rest, keys, mask, left) }
	if d.inRange {
		return d.read(ctx, f, arms, rest, keys, mask)
	}
	return nil
}

// start decides how the file is read, and brings what is known of its groups
// up to date.
func (d *finder) start(ctx context.Context, f *fileRows, indexed bool, keys span) error {
	low, high := keys.low>>slotBits, (keys.high-1)>>slotBits+1
	if d.started {
		if d.ranges == nil || d.sealed != nil {
			return nil
		}
		if err := d.ranges.load(ctx, f, low, high); err != nil {
			return err
		}
		d.scanLater(ctx, f)
		return nil
	}
	has, err := hasWords(ctx, f.c, f.schema)
	if err == nil && has && d.live != nil {
		has, err = wordsCurrent(ctx, f.c, f.schema)
	}
	if err != nil {
		return err
	}
	if has {
		if d.ranges, err = d.find(ctx, f, indexed, low, high); err != nil {
			return err
		}
	}
	d.started = true
	return nil
}

// find is what the words of a file say; nil if an index is the better way.
func (d *finder) find(ctx context.Context, f *fileRows, indexed bool, low, high int64) (*wordRanges, error) {
	r := &wordRanges{oldest: d.s.Oldest}
	var ids []string
	if root := d.s.Filter.RootID; root != "" {
		r.words, ids = append(r.words, text.RootWord(root)), append(ids, root)
	}
	if q := d.s.Text; q != nil {
		r.words, ids = append(r.words, q.Words()...), append(ids, q.TaskIDs()...)
	}
	if err := r.load(ctx, f, low, high); err != nil {
		return nil, err
	}
	if indexed {
		if dense, err := r.dense(ctx, f); err != nil || dense {
			return nil, err
		}
	}
	d.ranges = r
	d.scanLater(ctx, f)
	for _, w := range wantedOf(ids) {
		keys, err := d.keysOf(ctx, f, w)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			p := r.place(key>>slotBits, key>>slotBits)
			p.sure, p.all = true, true
			heap.Push(&r.found, p)
		}
	}
	return r, nil
}

// scanLater has scanFor run when a chunk is asked: most files have no span for
// an id or an absent word, and reading their names took a sixth of the time.
func (d *finder) scanLater(ctx context.Context, f *fileRows) {
	if d.s.Text != nil {
		d.ranges.prepare = func() error { return d.scanFor(ctx, f) }
	}
}

// scanFor prepares what chunks are asked: it depends on the names of the file.
func (d *finder) scanFor(ctx context.Context, f *fileRows) error {
	r := d.ranges
	var vals [1]driver.Value
	if _, err := f.c.queryRow(ctx, vals[:], namesText(f.schema)); err != nil {
		return err
	}
	count, _ := vals[0].(int64)
	if count == r.names && r.scan != nil {
		return nil
	}
	names, err := loadNames(ctx, f.c, f.schema+".task_name")
	if err != nil {
		return err
	}
	types, err := loadNames(ctx, f.c, f.schema+".exception")
	if err != nil {
		return err
	}
	r.names, r.asked = count, chunkAnswer{}
	if r.scan = d.s.Text.Scan(names, types); !r.scan.Any() {
		r.scan = nil
	}
	return nil
}

func namesText(schema string) string {
	return "SELECT (SELECT ifnull(max(id), 0) FROM " + schema + ".task_name) + (SELECT ifnull(max(id), 0) FROM " + schema + ".exception)"
}

// keysOf are the keys of the rows of an id.
func (d *finder) keysOf(ctx context.Context, f *fileRows, w wantedID) (keys []int64, err error) {
	if d.live != nil {
		if !d.live.MayContain(w.hash) {
			return nil, nil
		}
		o, err := openOverlay(ctx, d.live, f.c, f.schema)
		if err != nil {
			return nil, err
		}
		key, ok, err := o.find(ctx, w.hash, w.id)
		if ok {
			keys = append(keys, key)
		}
		return keys, err
	}
	maybe, known := d.sealed.MayContain(w.hash)
	if !known {
		maybe, err = probeFilter(ctx, f.c, f.schema, d.sealed.FilterBlocks(), w.hash)
	}
	if err != nil || !maybe {
		return nil, err
	}
	err = d.sealed.ids.each(ctx, f.c, f.schema, w, 1, keysByID, func(vals []driver.Value) error {
		key, ok := vals[0].(int64)
		if !ok {
			return errRow
		}
		keys = append(keys, key)
		return nil
	})
	return keys, err
}

// next opens the next range; false at the end.
func (d *finder) next(ctx context.Context, f *fileRows, arms []arm, rest conds, keys span, mask string, left *int) (bool, error) {
	var err error
	if d.at, d.inRange, err = d.ranges.next(ctx, f, left); err != nil || !d.inRange {
		return false, err
	}
	return true, d.read(ctx, f, arms, rest, keys, mask)
}

// read opens the cursors of the range.
func (d *finder) read(ctx context.Context, f *fileRows, arms []arm, rest conds, keys span, mask string) error {
	first, last := d.ranges.times(d.at.place)
	keys.low, keys.high = max(keys.low, first<<slotBits), min(keys.high, (last+1)<<slotBits)
	f.close()
	if !keys.nonEmpty() {
		return nil
	}
	// A cut with some late rows has a span that lasts for hours: of the rows in
	// between, those of other cuts are passed over.
	if !d.at.all {
		rest = conds{text: slices.Clone(rest.text), args: slices.Clone(rest.args)}
		if d.at.exact {
			rest.add(ofDetails, jsonInts(d.at.details))
		} else {
			rest.add(ofChunks, jsonInts(d.at.chunks))
		}
	}
	return f.open(ctx, arms, rest, keys, mask)
}

// ofDetails leaves the rows of some details.
const ofDetails = "i.detail IN (SELECT value FROM json_each(?))"

// ofChunks leaves the rows whose details are in some chunks, and those without.
var ofChunks = fmt.Sprintf("(i.detail IS NULL OR i.detail / %d IN (SELECT value FROM json_each(?)))", chunkRows)

// match reports whether a row has the words. It leaves no texts in the row.
func (d *finder) match(ctx context.Context, it *item) (bool, error) {
	if it.detail >= 0 {
		t, err := it.from.details().texts(ctx, it.from.c, it.from.schema, it.detail)
		if err != nil {
			return false, err
		}
		t.set(&it.inv)
	}
	found := d.s.Text.Match(&it.inv)
	(&chunkTexts{}).set(&it.inv)
	return found, nil
}
