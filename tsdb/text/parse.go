package text

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of a query.
const (
	MaxQuery = 1024 // bytes
	MaxTerms = 16
	MaxWords = 64 // in all terms
)

// The errors of Parse that callers may want to tell apart. Every error of it
// says what to do about it.
var (
	ErrEmpty      = errors.New("q has no word: give letters or digits to look for, or /text/ for punctuation")
	ErrUnbalanced = errors.New(`q has an opening quote without a closing one: add it, or leave the quote out (\" is a quote within quotes)`)
)

// Parse reads a query (see the package's comment). It returns ErrEmpty for one
// that looks for nothing; an absent parameter is not a query.
func Parse(q string) (*Query, error) {
	if len(q) > MaxQuery {
		return nil, fmt.Errorf("q has %d bytes, at most %d are allowed: give fewer words, or the beginning of a long one with a *", len(q), MaxQuery)
	}
	rest := strings.ToValidUTF8(q, "\uFFFD")
	out := &Query{}
	words := 0
	for {
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		if rest == "" {
			break
		}
		t, n, err := parseTerm(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
		if t.part == "" && len(t.words) == 0 {
			continue
		}
		if words += len(t.words); words > MaxWords {
			return nil, fmt.Errorf("q has more than %d words: a few rare ones find as much", MaxWords)
		}
		if len(out.terms) == MaxTerms {
			return nil, fmt.Errorf("q has more than %d terms: leave some out, or put words that stand together between quotes", MaxTerms)
		}
		t.prepare()
		out.terms = append(out.terms, t)
	}
	if len(out.terms) == 0 {
		return nil, ErrEmpty
	}
	out.plan()
	return out, nil
}

// parseTerm reads the term at the beginning of s and how long it is.
func parseTerm(s string) (term, int, error) {
	switch s[0] {
	case '"':
		return parsePhrase(s)
	case '/':
		if t, n, ok := parsePart(s); ok {
			return t, n, nil
		}
	}
	n := strings.IndexFunc(s, unicode.IsSpace)
	if n < 0 {
		n = len(s)
	}
	raw, star := strings.CutSuffix(s[:n], "*")
	return wordTerm(raw, star), n, nil
}

// parsePhrase reads "…" or "…"*.
func parsePhrase(s string) (t term, n int, err error) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++ // a quote that is escaped does not end it
		case '"':
			raw, n := s[1:i], i+1
			star := strings.HasPrefix(s[n:], "*") && (n+1 == len(s) || spaceAt(s, n+1))
			if star {
				n++
			}
			return wordTerm(raw, star), n, nil
		}
	}
	return t, 0, ErrUnbalanced
}

// parsePart reads /…/ if s begins with it: the second slash that is not
// escaped stands at the end of the term. Otherwise it is a path like /usr/lib.
func parsePart(s string) (t term, n int, ok bool) {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '/':
			i++
		case s[i] == '/':
			raw := strings.ReplaceAll(s[1:i], `\/`, "/")
			if raw == "" || i+1 < len(s) && !spaceAt(s, i+1) {
				return t, 0, false
			}
			return term{part: foldText(raw)}, i + 1, true
		}
	}
	return t, 0, false
}

func spaceAt(s string, i int) bool {
	r, _ := utf8.DecodeRuneInString(s[i:])
	return unicode.IsSpace(r)
}

// wordTerm is the term of a text; star says that a * stood behind it, which
// makes a prefix of the word before.
func wordTerm(raw string, star bool) term {
	t := term{words: wordsOf(raw)}
	if !star {
		t.ids = idForms(raw)
		return t
	}
	last, _ := utf8.DecodeLastRuneInString(raw)
	t.prefix = classOf(last) != separates
	if begin := strings.TrimLeftFunc(raw, func(r rune) bool { return classOf(r) == separates }); idBegin(begin) {
		t.idPart = strings.ToLower(begin)
	}
	return t
}
