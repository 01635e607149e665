package blocks

import (
	"cmp"
	"container/heap"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"daybook/tsdb/text"
)

const (
	// maxWordLookups is how many words a group is asked for at most. They are
	// asked in the order of rareness, and what more would spare is not worth
	// a page each.
	maxWordLookups = 8
	// What a fill examines at most before it lets go of its transaction, in
	// rows that are matched, and what other things cost in rows.
	fillEffort  = 1 << 16
	effortChunk = 32
	effortGroup = 8
)

// errPause ends a fill early that has found too little: how far it has come is
// kept.
var errPause = errors.New("pause")

// wordGroup is a row of word_group without its spans.
type wordGroup struct {
	id, page, pages int64
	low, high       int64 // low <= time of day < high
	textIDs         bool
}

// place is a range of times of day in the order of a walk: lead comes first. In
// ascending order they are times, in descending order their negation.
type place struct {
	lead, tail int64 // tail included
	chunk      int64 // that has the details of its rows; 0 if none has any
	sure       bool  // its rows are wanted whatever the chunk has
	all        bool  // its rows may have their details in any chunk
}

// wordRange is a place with all that overlap it.
type wordRange struct {
	place
	chunks []int64 // that have the details of the rows; not told if all is set
	// details are those of the rows, if exact is set: other rows cannot match.
	details []int64
	exact   bool
}

// maxRangeChunks and maxRangeDetails bound what a statement is told.
const (
	maxRangeChunks  = 1024
	maxRangeDetails = 4 * chunkRows
)

// join takes a place in, with the details that its rows may have; nil: any of
// its chunk.
func (w *wordRange) join(p place, details []int64) {
	w.tail = max(w.tail, p.tail)
	if w.all = w.all || p.all; w.all || details == nil {
		w.exact = false
	}
	if p.chunk == 0 {
		return
	}
	if !slices.Contains(w.chunks, p.chunk) {
		w.chunks = append(w.chunks, p.chunk)
		w.details = append(w.details, details...)
	}
	if len(w.details) > maxRangeDetails {
		w.exact = false
	}
	if !w.exact {
		w.details = nil
	}
	if len(w.chunks) > maxRangeChunks {
		w.chunks, w.all = nil, true
	}
}

// has reports whether the rows of a place are among those of the range.
func (w *wordRange) has(p *place) bool {
	return p.tail <= w.tail && (w.all || p.chunk != 0 && !(p.sure && w.exact) && slices.Contains(w.chunks, p.chunk))
}

// wordRanges finds the ranges of time of one file in which rows may have some
// words, in order. It outlives transactions: groups never change.
type wordRanges struct {
	words  []uint64
	oldest bool
	groups []wordGroup // not looked at yet, in order of their lead
	last   int64       // greatest id of those that were ever in groups
	found  places      // of groups that were looked at
	scan   *text.Scan  // nil: chunks are not asked
	names  int64       // how many names the scan knows
	asked  chunkAnswer // the last one: rows without details stretch a chunk over many spans
	// prepare brings scan up to date before the first chunk of a fill is asked;
	// nil: it is.
	prepare func() error
}

// places is a heap by lead.
type places []place

func (p places) Len() int           { return len(p) }
func (p places) Less(i, j int) bool { return p[i].lead < p[j].lead }
func (p places) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *places) Push(x any)        { *p = append(*p, x.(place)) }
func (p *places) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	*p = (*p)[:last]
	return x
}

func (r *wordRanges) place(first, last int64) place {
	if r.oldest {
		return place{lead: first, tail: last}
	}
	return place{lead: -last, tail: -first}
}

// times are the times of day of a place, the last one included.
func (r *wordRanges) times(p place) (first, last int64) {
	if r.oldest {
		return p.lead, p.tail
	}
	return -p.tail, -p.lead
}

func (r *wordRanges) groupLead(g wordGroup) int64 { return r.place(g.low, g.high-1).lead }

// load adds the groups that are new, of a range of time: low <= time < high.
func (r *wordRanges) load(ctx context.Context, f *fileRows, low, high int64) error {
	n := len(r.groups)
	err := f.c.each(ctx, 6, func(vals []driver.Value) error {
		g, err := scanGroup(vals)
		if err != nil {
			return err
		}
		r.last = max(r.last, g.id)
		r.groups = append(r.groups, g)
		return nil
	}, groupsText(f.schema), r.last, low, high)
	if len(r.groups) > n {
		slices.SortFunc(r.groups, func(a, b wordGroup) int { return cmp.Compare(r.groupLead(a), r.groupLead(b)) })
	}
	return err
}

func groupsText(schema string) string {
	return "SELECT id, page, pages, low, high, text_ids FROM " + schema + ".word_group WHERE id > ? AND high > ? AND low < ? ORDER BY id"
}

func scanGroup(vals []driver.Value) (g wordGroup, err error) {
	for i, to := range []*int64{&g.id, &g.page, &g.pages, &g.low, &g.high} {
		n, ok := vals[i].(int64)
		if !ok {
			return g, errGroup
		}
		*to = n
	}
	ids, ok := vals[5].(int64)
	g.textIDs = ids != 0
	if !ok || g.pages < 1 || g.pages > 1<<20 || g.page < 1 || g.low < 0 || g.low >= g.high || g.high > dayMicros {
		return g, errGroup
	}
	return g, nil
}

var errGroup = fmt.Errorf("a group of words: %w", errRow)

// next is the next range, false at the end. Ranges do not overlap: the spans
// that do are joined, so that rows come in order. errPause is returned between
// two ranges when left is used up.
func (r *wordRanges) next(ctx context.Context, f *fileRows, left *int) (at wordRange, ok bool, err error) {
	for {
		switch {
		case !ok && *left <= 0 && len(r.groups)+len(r.found) > 0:
			return at, false, errPause
		case r.due(at, ok):
			if err := r.open(ctx, f, r.groups[0]); err != nil {
				return at, false, err
			}
			r.groups = r.groups[1:]
			*left -= effortGroup
			continue
		case len(r.found) == 0 || ok && r.found[0].lead > at.tail:
			return at, ok, nil
		}
		p := heap.Pop(&r.found).(place)
		if ok && at.has(&p) {
			continue // its rows are read anyway
		}
		if !p.sure && r.prepare != nil {
			if err := r.prepare(); err != nil {
				return at, false, err
			}
			r.prepare = nil
		}
		var details []int64
		if !p.sure && r.scan != nil {
			*left -= effortChunk
			a, err := r.ask(ctx, f, p.chunk)
			if err != nil {
				return at, false, err
			}
			if !a.may {
				continue
			}
			details = a.details
		}
		if !ok {
			at, ok = wordRange{place: p, exact: true}, true
		}
		at.join(p, details)
	}
}

// due reports whether the next group has to be looked at now: it may begin
// before the end of the range that was found, or before the first place.
func (r *wordRanges) due(at wordRange, ok bool) bool {
	if len(r.groups) == 0 {
		return false
	}
	lead := r.groupLead(r.groups[0])
	switch {
	case ok:
		return lead <= at.tail
	case len(r.found) > 0:
		return lead <= r.found[0].lead
	}
	return true
}

// open looks a group up.
func (r *wordRanges) open(ctx context.Context, f *fileRows, g wordGroup) error {
	found, err := r.lookUp(ctx, f, g)
	if err != nil || found.Empty() {
		return err
	}
	spans, err := r.spans(ctx, f, g)
	if err != nil {
		return err
	}
	for i, s := range spans {
		if found.Has(i) {
			p := r.place(s.first, s.last)
			p.chunk, p.sure = s.chunk, g.textIDs
			heap.Push(&r.found, p)
		}
	}
	return nil
}

// spans are those of a group.
func (r *wordRanges) spans(ctx context.Context, f *fileRows, g wordGroup) ([]wordSpan, error) {
	var vals [1]driver.Value
	there, err := f.c.queryRow(ctx, vals[:], spansText(f.schema), g.id)
	if err != nil {
		return nil, err
	}
	data, _ := vals[0].([]byte)
	if !there || len(data) == 0 { // no group is written without
		return nil, fmt.Errorf("the spans of group %d: %w", g.id, errGroup)
	}
	return decodeSpans(data)
}

func spansText(schema string) string {
	return "SELECT spans FROM " + schema + ".word_group WHERE id = ?"
}

func wordPageText(schema string) string {
	return "SELECT data FROM " + schema + ".word_page WHERE id = ?"
}

// lookUp are the spans of a group that may have all words.
func (r *wordRanges) lookUp(ctx context.Context, f *fileRows, g wordGroup) (text.Spans, error) {
	found := text.AllSpans(text.MaxSpans)
	var vals [1]driver.Value
	have := int64(0)
	for _, word := range r.words[:min(len(r.words), maxWordLookups)] {
		if id := g.page + int64(text.PageOf(word, int(g.pages))); id != have {
			there, err := f.c.queryRow(ctx, vals[:], wordPageText(f.schema), id)
			if err != nil {
				return found, err
			}
			if !there { // vals would still be the page before it
				return found, fmt.Errorf("page %d of the words is missing: %w", id, errGroup)
			}
			have = id
		}
		data, _ := vals[0].([]byte)
		s, err := text.LookUp(data, int(g.pages), word)
		if err != nil {
			return found, fmt.Errorf("page %d of the words: %w: %w", have, err, errRow)
		}
		if found.And(s); found.Empty() {
			break
		}
	}
	return found, nil
}

// chunkAnswer says which rows of a chunk can match.
type chunkAnswer struct {
	chunk   int64
	may     bool
	details []int64 // of those rows; nil: most of them
}

// ask looks for the rows in their texts because a row costs some 4 µs to read,
// and its texts 0.2: counting a word that is in every chunk and in one row of
// twenty read all, 5.5 s of CPU over a million instead of 1.6.
func (r *wordRanges) ask(ctx context.Context, f *fileRows, id int64) (chunkAnswer, error) {
	if id == 0 { // no text has what names do not
		return chunkAnswer{}, nil
	}
	if r.asked.chunk == id {
		return r.asked, nil
	}
	ch, err := f.details().chunk(ctx, f.c, f.schema, id)
	if err != nil {
		return chunkAnswer{}, err
	}
	a := chunkAnswer{chunk: id}
	if r.scan.May(ch.text) {
		for i := range ch.rows() {
			t, err := ch.row(i)
			if err != nil {
				return chunkAnswer{}, fmt.Errorf("chunk %d of %s: %w", id, f.schema, err)
			}
			if r.scan.MayRow(t[:]) {
				a.details = append(a.details, id*chunkRows+int64(i))
			}
		}
	}
	if a.may = len(a.details) > 0; 2*len(a.details) > ch.rows() {
		a.details = nil // the list would cost more than the rows that it spares
	}
	r.asked = a
	return a, nil
}

// sampledGroups is how many groups tell how rare the words are.
const sampledGroups = 8

// dense reports whether more than an eighth of the spans is left, as far as
// some groups tell: then an index on the name or the state is the better way.
func (r *wordRanges) dense(ctx context.Context, f *fileRows) (bool, error) {
	if len(r.words) == 0 {
		return true, nil
	}
	left, all := 0, 0
	n := min(len(r.groups), sampledGroups)
	for i := range n {
		g := r.groups[i*len(r.groups)/n]
		s, err := r.lookUp(ctx, f, g)
		if err != nil {
			return false, err
		}
		spans, err := r.spans(ctx, f, g)
		if err != nil {
			return false, err
		}
		s.And(text.AllSpans(len(spans)))
		left += s.Len()
		all += len(spans)
	}
	return 8*left > all, nil
}
