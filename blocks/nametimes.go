package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
)

// nameTimes are the times, that is the ticks (namepage.go), at which a file may
// have rows of one name, in the order of a walk, each once. It lives within one
// read transaction.
type nameTimes struct {
	c         *conn
	schema    string
	name      int64
	low, high int64 // low <= time < high
	oldest    bool

	runs []nameRun     // not open yet, in the order of the walk
	open []*nameCursor // each with a time
	last int64
	any  bool
	page []nameEntry // room for one
}

// openNameTimes begins a walk. Runs are opened when it comes to them.
func openNameTimes(ctx context.Context, c *conn, schema string, name, low, high int64, oldest bool) (*nameTimes, error) {
	t := &nameTimes{c: c, schema: schema, name: name, low: max(low, 0), high: min(high, dayTicks), oldest: oldest}
	if t.low >= t.high {
		return t, nil
	}
	var err error
	if t.runs, err = loadNameRuns(ctx, c, schema, t.low, t.high); err != nil {
		return nil, err
	}
	slices.SortFunc(t.runs, func(a, b nameRun) int {
		if oldest {
			return cmp.Compare(a.low, b.low)
		}
		return cmp.Compare(b.high, a.high)
	})
	return t, nil
}

// before reports whether a time comes before another one in the walk.
func (t *nameTimes) before(a, b int64) bool {
	if t.oldest {
		return a < b
	}
	return a > b
}

// next is the next time, false at the end.
func (t *nameTimes) next(ctx context.Context) (at int64, ok bool, err error) {
	for {
		var best *nameCursor
		for _, k := range t.open {
			if best == nil || t.before(k.times[0], best.times[0]) {
				best = k
			}
		}
		if len(t.runs) > 0 {
			lead := t.runs[0].low
			if !t.oldest {
				lead = t.runs[0].high - 1
			}
			if best == nil || !t.before(best.times[0], lead) {
				if err := t.begin(ctx, t.runs[0]); err != nil {
					return 0, false, err
				}
				t.runs = t.runs[1:]
				continue
			}
		}
		if best == nil {
			return 0, false, nil
		}
		at := best.times[0]
		if best.times = best.times[1:]; len(best.times) == 0 {
			if err := t.advance(ctx, best); err != nil {
				return 0, false, err
			}
			if len(best.times) == 0 {
				t.open = slices.DeleteFunc(t.open, func(k *nameCursor) bool { return k == best })
			}
		}
		if t.any && at == t.last {
			continue
		}
		t.last, t.any = at, true
		return at, true, nil
	}
}

// nameCursor is an open run.
type nameCursor struct {
	r     nameRun
	page  int64     // the next to read
	done  bool      // no further page has the name
	edge  nameEntry // of the pages that were read, the end towards the next one
	begun bool
	times []int64
}

// follows wants the entries of a page to be on one side of those before it.
func (k *nameCursor) follows(page []nameEntry, oldest bool) error {
	near, far := page[0], page[len(page)-1]
	if !oldest {
		near, far = far, near
	}
	if k.begun && (near == k.edge || near < k.edge == oldest) {
		return fmt.Errorf("it is not in order: %w", errNamePage)
	}
	k.edge, k.begun = far, true
	return nil
}

// begin opens a run: the page of its first time is searched by the heads.
func (t *nameTimes) begin(ctx context.Context, r nameRun) error {
	from := t.first()
	if !t.oldest {
		from = t.lastEntry()
	}
	lo, hi := int64(0), r.pages // heads of pages before lo are not behind from
	for lo < hi {
		mid := (lo + hi) / 2
		head, err := t.head(ctx, r.page+mid)
		if err != nil {
			return err
		}
		if head <= from {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	k := &nameCursor{r: r, page: lo - 1}
	if lo == 0 {
		if !t.oldest {
			return nil
		}
		k.page = 0
	}
	if err := t.advance(ctx, k); err != nil {
		return err
	}
	if len(k.times) > 0 {
		t.open = append(t.open, k)
	}
	return nil
}

// first and lastEntry are the bounds of the walk, both included.
func (t *nameTimes) first() nameEntry     { return entryOf(t.name, t.low) }
func (t *nameTimes) lastEntry() nameEntry { return entryOf(t.name, t.high-1) }

func (t *nameTimes) head(ctx context.Context, page int64) (nameEntry, error) {
	var vals [1]driver.Value
	found, err := t.c.queryRow(ctx, vals[:], nameHeadText(t.schema), page)
	data, _ := vals[0].([]byte)
	if err == nil && !found {
		err = fmt.Errorf("page %d of the names is missing: %w", page, errNamePage)
	}
	if err != nil {
		return 0, err
	}
	return nameHead(data)
}

func nameHeadText(schema string) string {
	return fmt.Sprintf("SELECT substr(data, 1, %d) FROM %s.name_page WHERE id = ?", nameHeadBytes, schema)
}

// advance reads pages until one has times of the walk.
func (t *nameTimes) advance(ctx context.Context, k *nameCursor) error {
	k.times = k.times[:0]
	for len(k.times) == 0 && !k.done && k.page >= 0 && k.page < k.r.pages {
		data, err := readNamePage(ctx, t.c, t.schema, k.r.page+k.page)
		if err == nil {
			t.page, err = appendNames(t.page[:0], data)
		}
		if err == nil {
			err = k.follows(t.page, t.oldest)
		}
		if err != nil {
			return fmt.Errorf("page %d of the names: %w", k.r.page+k.page, err)
		}
		from, _ := slices.BinarySearch(t.page, t.first())
		to, _ := slices.BinarySearch(t.page, t.lastEntry()+1)
		for _, e := range t.page[from:to] {
			k.times = append(k.times, e.tick())
		}
		if t.oldest {
			k.done = to < len(t.page)
			k.page++
		} else {
			k.done = from > 0
			k.page--
			slices.Reverse(k.times)
		}
	}
	return nil
}
