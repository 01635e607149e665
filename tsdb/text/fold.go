package text

import (
	"unicode"
	"unicode/utf8"
)

// wordByte is, of a byte below utf8.RuneSelf, what it is in a word, and 0 if it
// separates; anyRune for the bytes of longer runes.
var wordByte = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= utf8.RuneSelf:
			t[c] = anyRune
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z':
			t[c] = byte(c)
		case c >= 'A' && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		}
	}
	return t
}()

const anyRune = 0xff

// lowerByte is wordByte for every byte: separators are themselves.
var lowerByte = func() (t [256]byte) {
	for c := range t {
		t[c] = byte(c)
		if w := wordByte[c]; w != 0 && w != anyRune {
			t[c] = w
		}
	}
	return t
}()

// class is what a rune does to words.
type class uint8

const (
	separates class = iota
	joins           // is part of a word
	alone           // is a word by itself
)

// unspaced are the scripts that are written without spaces between words.
var unspaced = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar}

const (
	firstUnspaced  = '\u0e00'
	prolongedSound = '\u30fc' // of no script's table, but of Japanese
)

func classOf(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		if wordByte[byte(r)] != 0 {
			return joins
		}
		return separates
	case !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r):
		return separates
	case r >= firstUnspaced && (r == prolongedSound || unicode.In(r, unspaced...)):
		return alone
	}
	return joins
}

// foldRune gives the runes that differ by case only one form: the least of
// them, because later versions of Unicode add counterparts above rather than
// below what there is; ASCII in lower case.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		return rune(lowerByte[byte(r)])
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	if least < utf8.RuneSelf {
		return rune(lowerByte[byte(least)])
	}
	return least
}

// foldText folds every rune of s.
func foldText(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = utf8.AppendRune(b, foldRune(r))
	}
	return string(b)
}

// nextWord is the first word of s at or behind i; start is len(s) if there is
// none.
func nextWord(s string, i int) (start, end int) {
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch classOf(r) {
		case separates:
			i += n
		case alone:
			return i, i + n
		default:
			return i, wordEnd(s, i+n)
		}
	}
	return len(s), len(s)
}

// wordEnd is where the word that is under way at i ends.
func wordEnd(s string, i int) int {
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		if classOf(r) != joins {
			break
		}
		i += n
	}
	return i
}

// wordsOf are the words of s, folded.
func wordsOf(s string) []string {
	var words []string
	for start, end := nextWord(s, 0); start < len(s); start, end = nextWord(s, end) {
		words = append(words, foldText(s[start:end]))
	}
	return words
}
