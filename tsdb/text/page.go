package text

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// A page answers, for the words of one range of hashes, in which spans of its
// group they may be:
//
//	byte    version
//	byte    number of spans, less one
//	uint16  number of frequent words
//	uint32  number of entries
//	        frequent words, ascending: uint32 fingerprint, one bit a span
//	        2 bits an entry: for each bucket a 1 an entry, then a 0
//	        1 byte an entry: the low bits are the span, the rest a fingerprint
//
// Integers are little-endian, bits count from the least. There are as many
// buckets as entries; an entry is one word in one span. A word that is in many
// spans is cheaper as a bit for each and has no entries.
const (
	pageVersion = 1
	pageHeader  = 8
	entryBits   = 8

	// MaxSpans is how many spans a group has at most.
	MaxSpans = 128
	// pageTarget is the size pages are made for. Their sizes vary a little, and
	// 4061 bytes still fit one database page of 4 KiB.
	pageTarget = 3700
)

// ErrPage is returned for a page that is not of the format.
var ErrPage = errors.New("a page of words is not of the format")

// Spans is a set of spans of one group.
type Spans [MaxSpans / 64]uint64

// AllSpans are the first n spans.
func AllSpans(n int) (s Spans) {
	for i := range s {
		s[i] = ^uint64(0)
		if k := n - 64*i; k <= 0 {
			s[i] = 0
		} else if k < 64 {
			s[i] = 1<<k - 1
		}
	}
	return s
}

// Has reports whether span i is in the set.
func (s *Spans) Has(i int) bool { return i >= 0 && i < MaxSpans && s[i/64]>>(i%64)&1 != 0 }

// Empty reports whether no span is in the set.
func (s *Spans) Empty() bool { return *s == Spans{} }

// And leaves the spans that are in o, too.
func (s *Spans) And(o Spans) {
	for i := range s {
		s[i] &= o[i]
	}
}

// Len counts the spans.
func (s *Spans) Len() int { return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) }

func (s *Spans) add(i int) { s[i/64] |= 1 << (i % 64) }

// PageOf is which of a group's pages has a word.
func PageOf(word uint64, pages int) int {
	page, _ := pagePlace(word, pages)
	return page
}

// pagePlace is the page of a word and its place within the range of the page.
func pagePlace(word uint64, pages int) (page int, place uint64) {
	hi, lo := bits.Mul64(word&^spanMask, uint64(max(pages, 1)))
	return int(hi), lo
}

// entryPlace is the bucket of a place, of n, and the low bits of its entry in a
// span.
func entryPlace(place uint64, n, spans, span int) (bucket int, low byte) {
	hi, rest := bits.Mul64(place, uint64(n))
	w := spanWidth(spans)
	return int(hi), byte(rest>>(64-entryBits)>>w<<w) | byte(span)
}

// spanWidth is how many bits hold the number of a span.
func spanWidth(spans int) int { return bits.Len(uint(spans - 1)) }

func mapBytes(spans int) int { return (spans + 7) / 8 }

// frequentSpans is in how many spans a word has to be for bits to be cheaper.
func frequentSpans(spans int) int { return (32 + 8*mapBytes(spans)) / (entryBits + 2) }

// page is a page taken apart.
type page struct {
	spans    int
	entries  int
	frequent []byte
	unary    []byte
	low      []byte
}

func openPage(b []byte) (p page, err error) {
	if len(b) < pageHeader || b[0] != pageVersion || b[1] >= MaxSpans {
		return p, ErrPage
	}
	p.spans = int(b[1]) + 1
	frequent := int(binary.LittleEndian.Uint16(b[2:])) * (4 + mapBytes(p.spans))
	p.entries = int(binary.LittleEndian.Uint32(b[4:]))
	unary := (2*p.entries + 7) / 8
	b = b[pageHeader:]
	if len(b) != frequent+unary+p.entries {
		return p, ErrPage
	}
	p.frequent, p.unary, p.low = b[:frequent], b[frequent:frequent+unary], b[frequent+unary:]
	return p, nil
}

// LookUp returns the spans in which a word may be. data is the page that PageOf
// names, of so many. Damaged bytes give an error or wrong spans.
func LookUp(data []byte, pages int, word uint64) (found Spans, err error) {
	p, err := openPage(data)
	if err != nil {
		return found, err
	}
	_, place := pagePlace(word, pages)
	size := 4 + mapBytes(p.spans)
	for f := p.frequent; len(f) > 0; f = f[size:] {
		if binary.LittleEndian.Uint32(f) == uint32(place>>32) {
			for i, b := range f[4:size] {
				found[i/8] |= uint64(b) << (i % 8 * 8)
			}
		}
	}
	if p.entries > 0 {
		bucket, low := entryPlace(place, p.entries, p.spans, 0)
		w := spanWidth(p.spans)
		bit := p.bucketStart(bucket)
		for i := bit - bucket; i < p.entries && p.bit(bit); i, bit = i+1, bit+1 {
			if p.low[i]>>w == low>>w {
				found.add(int(p.low[i] & (1<<w - 1)))
			}
		}
	}
	found.And(AllSpans(p.spans))
	return found, nil
}

func (p *page) bit(i int) bool { return i/8 < len(p.unary) && p.unary[i/8]>>(i%8)&1 != 0 }

// bucketStart is the bit behind so many zeros; the end if there are fewer.
func (p *page) bucketStart(zeros int) int {
	i := 0
	for ; i+8 <= len(p.unary); i += 8 {
		n := 64 - bits.OnesCount64(binary.LittleEndian.Uint64(p.unary[i:]))
		if n >= zeros {
			break
		}
		zeros -= n
	}
	bit := 8 * i
	for ; zeros > 0 && bit < 8*len(p.unary); bit++ {
		if !p.bit(bit) {
			zeros--
		}
	}
	return bit
}

// CheckPage reports whether a page is whole: what LookUp says of it is what was
// stored, unless bits were flipped that nothing tells of.
func CheckPage(data []byte) error {
	p, err := openPage(data)
	if err != nil {
		return err
	}
	ones := 0
	for _, b := range p.unary {
		ones += bits.OnesCount8(b)
	}
	if ones != p.entries {
		return ErrPage
	}
	w := spanWidth(p.spans)
	for _, low := range p.low {
		if int(low&(1<<w-1)) >= p.spans {
			return ErrPage
		}
	}
	return nil
}
