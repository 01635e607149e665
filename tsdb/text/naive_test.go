package text

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"daybook/tsdb/task"
)

// This file says once more, without care for speed, what a word is and what
// matches.

var uuid = regexp.MustCompile(`(?i)^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$|(?i)^[0-9a-f]{32}$`)

func naiveWords(s string) []string {
	var words []string
	word := ""
	for _, r := range s {
		switch {
		case !unicode.In(r, unicode.L, unicode.N, unicode.M):
			words, word = append(words, word), ""
		case unicode.In(r, unspaced...) || r == prolongedSound:
			words, word = append(words, word, string(naiveFold(r))), ""
		default:
			word += string(naiveFold(r))
		}
	}
	words = append(words, word)
	out := words[:0]
	for _, w := range words {
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}

// naiveFold is the least rune that is equal but for case; letters of ASCII are
// lower.
func naiveFold(r rune) rune {
	if f, ok := naiveFolds.Load(r); ok {
		return f.(rune)
	}
	f := r
	for low := rune(0); low < r; low++ {
		if strings.EqualFold(string(low), string(r)) {
			f = low
			break
		}
	}
	if f < utf8.RuneSelf {
		f = unicode.ToLower(f)
	}
	naiveFolds.Store(r, f)
	return f
}

var naiveFolds sync.Map // of rune to rune

func naiveText(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(naiveFold(r))
	}
	return b.String()
}

// naiveMatch takes what Parse understood and matches it over lists of words.
func naiveMatch(q *Query, v *task.Invocation) bool {
	typ, message, traceback := v.Exception()
	texts := []string{v.TaskName, v.Args, v.Kwargs, v.Outcome.Result, typ, message, traceback}
	id := uuid.MatchString(v.TaskID)
	if !id {
		texts = append(texts, v.TaskID)
	}
	for i := range q.terms {
		t := &q.terms[i]
		found := false
		if t.part != "" {
			for _, s := range append(texts[:len(texts):len(texts)], v.TaskID) {
				found = found || strings.Contains(naiveText(s), t.part)
			}
		} else {
			for _, s := range texts {
				found = found || naivePhrase(naiveWords(s), t)
			}
			if a, b := naiveWords(typ), naiveWords(message); len(a) > 0 && len(b) > 0 {
				found = found || naivePhrase(append(a, b...), t)
			}
			for _, x := range t.ids {
				found = found || x == v.TaskID
			}
			found = found || id && t.idPart != "" && strings.HasPrefix(strings.ToLower(v.TaskID), t.idPart)
		}
		if !found {
			return false
		}
	}
	return true
}

func naivePhrase(words []string, t *term) bool {
	for i := 0; i+len(t.words) <= len(words); i++ {
		ok := true
		for j, w := range t.words {
			if t.prefix && j == len(t.words)-1 {
				ok = ok && strings.HasPrefix(words[i+j], w)
			} else {
				ok = ok && words[i+j] == w
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// pieces are what random texts and queries are made of: few, so that they meet.
var pieces = []string{"ord", "ORD", "Ord", "-", "_", " ", " ", ".", "@", "'", "42", "4", "2", "é", "É", "e\u0301", "\u0301",
	"東", "京", "タ", "ー", "ß", "ẞ", "σ", "ς", "Σ", "K", "k", "\u212a", "\u017f", "s", "x\x00y", "ⅷ", "ก", "ำ", "-", ":", "(", ")", ", ", "\u00a0", "a", "ab", "abc"}

func randomText(r *rand.Rand, most int) string {
	var b strings.Builder
	for range r.IntN(most) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func randomRow(r *rand.Rand) task.Invocation {
	v := task.Invocation{TaskID: "id-" + randomText(r, 4), TaskName: randomText(r, 5), State: task.StateSuccess,
		Args: randomText(r, 12), Kwargs: randomText(r, 12)}
	switch r.IntN(4) {
	case 0:
		v.TaskID = newLoad(r.Uint64()).id()
	case 1:
		v.TaskID = strings.ToUpper(newLoad(r.Uint64N(20)).id())
	}
	v.Outcome.Result = randomText(r, 6)
	v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback = randomText(r, 4), randomText(r, 6), randomText(r, 30)
	if r.IntN(2) == 0 {
		v.State = task.StateFailure
	}
	return v
}

// randomQuery is a query that has a chance to match v.
func randomQuery(r *rand.Rand, v *task.Invocation) string {
	var terms []string
	for range 1 + r.IntN(3) {
		s := randomText(r, 4)
		fields := []string{v.TaskID, v.TaskName, v.Args, v.Kwargs, v.Outcome.Result, v.Outcome.ExceptionType + ": " + v.Outcome.ExceptionMessage, v.Outcome.Traceback}
		if f := fields[r.IntN(len(fields))]; f != "" && r.IntN(3) > 0 {
			runes := []rune(f)
			from := r.IntN(len(runes))
			s = string(runes[from : from+1+r.IntN(min(8, len(runes)-from))])
			if r.IntN(5) == 0 {
				s = f
			}
		}
		switch r.IntN(5) {
		case 0:
			s = `"` + s + `"`
		case 1:
			s += "*"
		case 2:
			s = "/" + strings.ReplaceAll(s, "/", `\/`) + "/"
		case 3:
			s = strings.ToUpper(s)
		}
		terms = append(terms, s)
	}
	return strings.Join(terms, " ")
}
