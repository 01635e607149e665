package text

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"daybook/tsdb/task"
)

// maxPairs ends a group early, so that the memory of a build is bounded by it
// and what one span has.
const maxPairs = 1 << 18

// Builder collects the words of rows, span by span, and makes the pages of a
// group. The zero value is ready. It is used by one goroutine and best kept for
// the next group: it keeps its memory.
type Builder struct {
	span   wordSet  // words of the span under way
	spans  int      // ended ones
	ids    bool     // some id was text
	pairs  []uint64 // a word's hash with the number of its span in the low bits
	sorted []uint64
	ends   []uint32 // of what is dealt out while sorting
	hashes []uint64 // of one text
	pages  [][]byte
}

// Add adds the words of a row to the span under way.
func (b *Builder) Add(v *task.Invocation) {
	b.AddText(v.TaskName)
	b.AddText(v.Args)
	b.AddText(v.Kwargs)
	b.AddText(v.Outcome.Result)
	b.AddText(v.Outcome.ExceptionType)
	b.AddText(v.Outcome.ExceptionMessage)
	b.AddText(v.Outcome.Traceback)
	b.AddID(v.TaskID)
	b.AddRoot(v.TaskID, v.RootID)
}

// AddText adds the words of one field of a row.
func (b *Builder) AddText(s string) {
	b.hashes = appendHashes(b.hashes[:0], s)
	for _, h := range b.hashes {
		b.addHash(h)
	}
}

func (b *Builder) addHash(h uint64) {
	if b.span.add(h) {
		b.pairs = append(b.pairs, h|uint64(min(b.spans, MaxSpans-1)))
	}
}

// AddID adds the words of a task id, if filters hold them.
func (b *Builder) AddID(id string) {
	if !wholeID(id) {
		b.ids = true
		b.AddText(id)
	}
}

// AddRoot adds the root of a row, unless it is the row itself: that is found
// by its id.
func (b *Builder) AddRoot(id, root string) {
	if root != "" && root != id {
		b.addHash(RootWord(root))
	}
}

// TextIDs reports whether the group has a task id that is no UUID: then rows
// can match by it without their texts, and a Scan would miss them.
func (b *Builder) TextIDs() bool { return b.ids }

// EndSpan ends the span under way. A group that is Full takes no more.
func (b *Builder) EndSpan() {
	if b.spans < MaxSpans {
		b.spans++
		b.span.reset()
	}
}

// Spans counts the spans that have ended.
func (b *Builder) Spans() int { return b.spans }

// Full reports whether the group has to be taken before more is added.
func (b *Builder) Full() bool { return b.spans >= MaxSpans || len(b.pairs) >= maxPairs }

// Take returns the pages of the spans that have ended and begins a new group;
// none if there is no span. The pages are valid until the next Take.
func (b *Builder) Take() [][]byte {
	b.pages = b.pages[:0]
	if b.spans > 0 {
		b.sort()
		b.write()
	}
	b.Reset()
	return b.pages
}

// Reset forgets what was added.
func (b *Builder) Reset() {
	b.span.reset()
	b.spans, b.pairs, b.ids = 0, b.pairs[:0], false
}

// sort puts the pairs in order. Hashes are spread evenly: dealt out by their
// first bits, about eight to a pile, little is left to sort.
func (b *Builder) sort() {
	dealt := max(bits.Len(uint(len(b.pairs)))-3, 1)
	if len(b.ends) < 1<<dealt {
		b.ends = make([]uint32, 1<<dealt)
	}
	ends := b.ends[:1<<dealt]
	clear(ends)
	for _, p := range b.pairs {
		ends[p>>(64-dealt)]++
	}
	sum := uint32(0)
	for i, n := range ends {
		ends[i] = sum
		sum += n
	}
	b.sorted = slices.Grow(b.sorted[:0], len(b.pairs))[:len(b.pairs)]
	for _, p := range b.pairs {
		at := &ends[p>>(64-dealt)]
		b.sorted[*at] = p
		*at++
	}
	start := uint32(0)
	for _, end := range ends {
		slices.Sort(b.sorted[start:end])
		start = end
	}
}

// write makes the pages of the sorted pairs.
func (b *Builder) write() {
	spans := b.spans
	limit, size := frequentSpans(spans), 0 // in bits
	for i := 0; i < len(b.sorted); {
		end := sameWord(b.sorted, i)
		if end-i > limit {
			size += 8 * (4 + mapBytes(spans))
		} else {
			size += (end - i) * (entryBits + 2)
		}
		i = end
	}
	pages := max(1, (size/8+pageTarget-1)/pageTarget)
	w := pageWriter{spans: spans, pages: pages, limit: limit}
	rest := b.sorted
	for n := range pages {
		end := 0
		for end < len(rest) && PageOf(rest[end], pages) == n {
			end++
		}
		b.pages = append(b.pages, w.write(rest[:end]))
		rest = rest[end:]
	}
}

// sameWord is the end of the pairs of the word at i.
func sameWord(pairs []uint64, i int) int {
	end := i + 1
	for end < len(pairs) && pairs[end]&^spanMask == pairs[i]&^spanMask {
		end++
	}
	return end
}

// pageWriter encodes pages of one group.
type pageWriter struct{ spans, pages, limit int }

func (w *pageWriter) write(pairs []uint64) []byte {
	frequent, entries := 0, 0
	for i := 0; i < len(pairs); {
		end := sameWord(pairs, i)
		if end-i > w.limit {
			frequent++
		} else {
			entries += end - i
		}
		i = end
	}
	unary := (2*entries + 7) / 8
	b := make([]byte, pageHeader, pageHeader+frequent*(4+mapBytes(w.spans))+unary+entries)
	b[0], b[1] = pageVersion, byte(w.spans-1)
	binary.LittleEndian.PutUint16(b[2:], uint16(frequent))
	binary.LittleEndian.PutUint32(b[4:], uint32(entries))
	bitsAt, low := make([]byte, unary), make([]byte, 0, entries)
	for i := 0; i < len(pairs); {
		end := sameWord(pairs, i)
		_, place := pagePlace(pairs[i], w.pages)
		if end-i > w.limit {
			b = w.appendFrequent(b, place, pairs[i:end])
		} else {
			for _, p := range pairs[i:end] {
				bucket, l := entryPlace(place, entries, w.spans, int(p&spanMask))
				bit := bucket + len(low) // so many zeros and ones before
				bitsAt[bit/8] |= 1 << (bit % 8)
				low = append(low, l)
			}
		}
		i = end
	}
	return append(append(b, bitsAt...), low...)
}

func (w *pageWriter) appendFrequent(b []byte, place uint64, pairs []uint64) []byte {
	var s Spans
	for _, p := range pairs {
		s.add(int(p & spanMask))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(place>>32))
	for i := range mapBytes(w.spans) {
		b = append(b, byte(s[i/8]>>(i%8*8)))
	}
	return b
}
