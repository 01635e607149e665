package text

import (
	"strings"
	"unicode/utf8"
)

// finder finds the places where a folded pattern may begin by a byte of it
// that is rare in texts.
type finder struct {
	ascii   bool
	at      int // of the byte in the pattern
	low, up byte
	// variants: the pattern has a k or an s, of which there are longer forms.
	variants bool
}

// common are the bytes of ASCII words from the most frequent to rarer ones, as
// they are in what Python prints; all others are rarer.
const common = "etaoinsr01lducm2345fp6789ghbyvwk_"

func newFinder(pattern string) finder {
	f := finder{ascii: true, variants: strings.ContainsAny(pattern, "ks")}
	rarest := -1
	for i := range len(pattern) {
		c := pattern[i]
		if c >= utf8.RuneSelf {
			return finder{}
		}
		rank := strings.IndexByte(common, c)
		if rank < 0 {
			rank = len(common)
		}
		if rank > rarest {
			rarest, f.at, f.low, f.up = rank, i, c, c
		}
	}
	if f.low >= 'a' && f.low <= 'z' {
		f.up = f.low - 'a' + 'A'
	}
	return f
}

// direct reports whether every place of the pattern in s has the finder's byte.
func (f *finder) direct(s string) bool {
	return f.ascii && !(f.variants && (strings.Contains(s, "\u017f") || strings.Contains(s, "\u212a")))
}

// indexByte is where c is in s at or behind i, len(s) if nowhere.
func indexByte(s string, i int, c byte) int {
	if i < len(s) {
		if n := strings.IndexByte(s[i:], c); n >= 0 {
			return i + n
		}
	}
	return len(s)
}

// in reports whether one text has the term.
func (t *term) in(s string) bool {
	switch {
	case s == "":
		return false
	case !t.direct(s):
		return t.walk(s)
	}
	low, up := indexByte(s, t.at, t.low), len(s)
	if t.up != t.low {
		up = indexByte(s, t.at, t.up)
	}
	for low < len(s) || up < len(s) {
		i := min(low, up)
		if t.beginsAt(s, i-t.at) {
			return true
		}
		if i == low {
			low = indexByte(s, i+1, t.low)
		} else {
			up = indexByte(s, i+1, t.up)
		}
	}
	return false
}

// beginsAt reports whether the term stands at i of s; if it has words, the
// first is of ASCII.
func (t *term) beginsAt(s string, i int) bool {
	if t.part != "" {
		_, ok := hasFold(s, i, t.part)
		return ok
	}
	if i > 0 && !t.open {
		c := wordByte[s[i-1]]
		if c == anyRune {
			r, _ := utf8.DecodeLastRuneInString(s[:i])
			if classOf(r) == joins {
				return false
			}
		} else if c != 0 {
			return false
		}
	}
	_, ok := phraseAt(s, i, t.words, t.prefix || t.open)
	return ok
}

// walk is in for texts and terms of any runes.
func (t *term) walk(s string) bool {
	if t.part != "" {
		return hasPart(s, t.part)
	}
	if t.open {
		for i := range s {
			if _, ok := phraseAt(s, i, t.words, true); ok {
				return true
			}
		}
		return false
	}
	for start, end := nextWord(s, 0); start < len(s); start, end = nextWord(s, end) {
		if _, ok := phraseAt(s, start, t.words, t.prefix); ok {
			return true
		}
	}
	return false
}

func hasPart(s, part string) bool {
	for i := range s {
		if _, ok := hasFold(s, i, part); ok {
			return true
		}
	}
	return false
}

// across reports whether the words begin at the end of a text and go on in the
// next, as they do from an exception's type to its message.
func (t *term) across(s, next string) bool {
	if len(t.words) < 2 || s == "" || next == "" {
		return false
	}
	for start, end := nextWord(s, 0); start < len(s); start, end = nextWord(s, end) {
		for n := 1; n < len(t.words); n++ {
			stop, ok := phraseAt(s, start, t.words[:n], false)
			if !ok {
				break
			}
			if behind, _ := nextWord(s, stop); behind < len(s) {
				continue
			}
			first, _ := nextWord(next, 0)
			if _, ok := phraseAt(next, first, t.words[n:], t.prefix); ok {
				return true
			}
		}
	}
	return false
}

// phraseAt reports whether folded words follow each other in s from i on,
// where a word begins, and where the last one ends.
func phraseAt(s string, i int, words []string, prefix bool) (end int, ok bool) {
	for n, w := range words {
		if n > 0 {
			if i, _ = nextWord(s, i); i == len(s) {
				return 0, false
			}
		}
		if end, ok = hasFold(s, i, w); !ok {
			return 0, false
		}
		if open := prefix && n == len(words)-1; !open && goesOn(s, end, w) {
			return 0, false
		}
		i = end
	}
	return end, true
}

// goesOn reports whether the word of s that begins with w is longer; it was
// compared up to end.
func goesOn(s string, end int, w string) bool {
	if end == len(s) || wordByte[s[end]] == 0 {
		return false
	}
	next, _ := utf8.DecodeRuneInString(s[end:])
	first, _ := utf8.DecodeRuneInString(w)
	return classOf(next) == joins && classOf(first) == joins
}

// hasFold reports whether s at i, folded, begins with w, and where that ends.
func hasFold(s string, i int, w string) (end int, ok bool) {
	for j := 0; j < len(w); {
		if i >= len(s) {
			return 0, false
		}
		a, b := s[i], w[j]
		if a < utf8.RuneSelf {
			if lowerByte[a] != b {
				return 0, false
			}
			i, j = i+1, j+1
			continue
		}
		ra, na := utf8.DecodeRuneInString(s[i:])
		rb, nb := utf8.DecodeRuneInString(w[j:])
		if foldRune(ra) != rb {
			return 0, false
		}
		i, j = i+na, j+nb
	}
	return i, true
}
