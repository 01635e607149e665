package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// wordCheck checks the word filters of an open file: a word of a row that they
// do not have would make the row unfindable, and nobody would see it.
type wordCheck struct {
	r      *report
	c      *conn
	day    task.Day
	groups []wordGroup     // ascending by low
	active []*checkedGroup // those that rows of the time under way can be in
	pages  map[int64][]byte
	hashes []uint64
}

// checkedGroup is a group with its spans, and the words that one of them is
// known to have.
type checkedGroup struct {
	wordGroup
	spans []wordSpan
	span  int
	has   map[uint64]bool
}

// newWordCheck reads all groups and pages; nil for a file without, or a live
// one of which not all rows have words: queries do not use them.
func newWordCheck(ctx context.Context, r *report, c *conn, day task.Day, live bool) (*wordCheck, error) {
	has, err := hasWords(ctx, c, "main")
	if err == nil && has && live {
		has, err = wordsCurrent(ctx, c, "main")
	}
	if err != nil || !has {
		return nil, err
	}
	k := &wordCheck{r: r, c: c, day: day, pages: map[int64][]byte{}}
	next := int64(1)
	err = c.each(ctx, 7, func(vals []driver.Value) error {
		g, err := scanGroup(vals)
		if err != nil {
			return err
		}
		data, _ := vals[6].([]byte)
		spans, err := decodeSpans(data)
		if err != nil {
			return err
		}
		last := int64(-1)
		for _, s := range spans {
			last = max(last, s.last)
		}
		if len(spans) == 0 || spans[0].first != g.low || last+1 != g.high || g.page != next {
			return errGroup
		}
		next += g.pages
		k.groups = append(k.groups, g)
		return nil
	}, "SELECT id, page, pages, low, high, text_ids, spans FROM word_group ORDER BY id")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(k.groups, func(a, b wordGroup) int { return cmp.Compare(a.low, b.low) })
	return k, k.checkPages(ctx, next)
}

// checkPages checks that there are the pages that the groups name, and that
// they are whole.
func (k *wordCheck) checkPages(ctx context.Context, end int64) error {
	next := int64(1)
	err := k.c.each(ctx, 2, func(vals []driver.Value) error {
		data, _ := vals[1].([]byte)
		if err := text.CheckPage(data); err != nil || vals[0] != next {
			return k.r.add(remedyRestore, "page %v of the words is not of the format", vals[0])
		}
		next++
		return nil
	}, "SELECT id, data FROM word_page ORDER BY id")
	if err == nil && next != end {
		err = k.r.add(remedyRestore, "it has %d pages of words, and its groups name %d", next-1, end-1)
	}
	return err
}

// has reports whether all words of a row are found. Rows come in key order,
// with their details; chunk is where those are, 0 if it has none.
func (k *wordCheck) has(ctx context.Context, v *task.Invocation, at, chunk int64) (bool, error) {
	at -= k.day.Start()
	k.active = slices.DeleteFunc(k.active, func(g *checkedGroup) bool { return g.high <= at })
	for len(k.groups) > 0 && k.groups[0].low <= at {
		g := &checkedGroup{wordGroup: k.groups[0], span: -1}
		var vals [1]driver.Value
		if _, err := k.c.queryRow(ctx, vals[:], spansText("main"), g.id); err != nil {
			return false, err
		}
		data, _ := vals[0].([]byte)
		var err error
		if g.spans, err = decodeSpans(data); err != nil {
			return false, err
		}
		k.groups = k.groups[1:]
		k.active = append(k.active, g)
	}
	k.hashes = text.AppendHashes(k.hashes[:0], v)
	for _, g := range k.active {
		for i, s := range g.spans {
			if at < s.first || at > s.last || chunk != 0 && s.chunk != chunk {
				continue
			}
			if found, err := k.inSpan(ctx, g, i); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// inSpan reports whether a span has all of the hashes.
func (k *wordCheck) inSpan(ctx context.Context, g *checkedGroup, span int) (bool, error) {
	if g.span != span {
		g.span, g.has = span, map[uint64]bool{}
	}
	for _, h := range k.hashes {
		if g.has[h] {
			continue
		}
		data, err := k.page(ctx, g.page+int64(text.PageOf(h, int(g.pages))))
		if err != nil {
			return false, err
		}
		s, err := text.LookUp(data, int(g.pages), h)
		if err != nil || !s.Has(span) {
			return false, nil // what is wrong with the page was found before
		}
		g.has[h] = true
	}
	return true, nil
}

func (k *wordCheck) page(ctx context.Context, id int64) ([]byte, error) {
	if data := k.pages[id]; data != nil {
		return data, nil
	}
	if len(k.pages) >= 1<<13 { // 32 MiB
		clear(k.pages)
	}
	var vals [1]driver.Value
	_, err := k.c.queryRow(ctx, vals[:], wordPageText("main"), id)
	data, _ := vals[0].([]byte)
	k.pages[id] = data
	return data, err
}
