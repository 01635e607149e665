package redact

import "strings"

// value is what is replaced: s[from:to], by open, the mask and close.
type value struct {
	from, to    int
	open, close string
}

// valueAt finds the value behind the colon or equals sign at s[i]. keyQuote is
// the quote around the key. ok is false if there is nothing to hide.
func valueAt(s string, i int, keyQuote string) (v value, ok bool) {
	colon := s[i] == ':'
	i++
	if i < len(s) && (s[i] == '=' || s[i] == '>' && !colon) { // ==, =>, :=
		i++
	}
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	if i == len(s) {
		return v, false
	}
	if begin := stringAt(s, i); begin >= 0 {
		return quoted(s, begin)
	}
	if colon && keyQuote == "" || strings.HasPrefix(s[i:], Mask) {
		return v, false // prose such as "unexpected token: comma"; or masked
	}
	v = value{from: i, to: bareEnd(s, i), open: keyQuote, close: keyQuote}
	v.to = credentials(s, v)
	switch s[v.from:v.to] {
	case "", "None", "null":
		return v, false
	}
	return v, true
}

// stringAt returns where the quote of a string begins at or just behind i, its
// backslashes included; -1 if there is no string.
func stringAt(s string, i int) int {
	begin := i
	for begin < len(s) && begin < i+2 && strings.IndexByte("brufBRUF", s[begin]) >= 0 {
		begin++
	}
	if at := skipSlashes(s, begin); at < len(s) && isQuote(s[at]) {
		return begin
	}
	return -1
}

func skipSlashes(s string, i int) int {
	for i < len(s) && s[i] == '\\' {
		i++
	}
	return i
}

// quoted is the content of the string whose quote begins at begin.
func quoted(s string, begin int) (v value, ok bool) {
	v.from, v.to, _ = content(s, begin)
	inner := s[v.from:v.to]
	return v, inner != "" && inner != Mask
}

// content returns the bounds of what is in the string whose quote begins at
// begin, and the end of the string. One without an end goes on to the end of
// the text, or of the string around it.
func content(s string, begin int) (from, to, end int) {
	at := skipSlashes(s, begin)
	slashes, q := at-begin, s[at]
	if slashes == 0 && strings.HasPrefix(s[at+1:], s[at:at+1]+s[at:at+1]) {
		return triple(s, at)
	}
	from = at + 1
	for i := from; i < len(s); i++ {
		run := i
		i = skipSlashes(s, i)
		if i == len(s) {
			break
		}
		if s[i] != q {
			continue
		}
		switch n := i - run; {
		case n == slashes:
			return from, run, i + 1
		case n < slashes: // the end of the string around this one
			return from, run, run
		case pairs(n-slashes, slashes) && closes(s, i+1): // the content ends in backslashes
			return from, i - slashes, i + 1
		}
	}
	return from, len(s), len(s)
}

// triple is content for ”'…”' and """…""".
func triple(s string, at int) (from, to, end int) {
	from = at + 3
	if n := strings.Index(s[from:], s[at:from]); n >= 0 {
		return from, from + n, from + n + 3
	}
	return from, len(s), len(s)
}

// pairs reports whether so many backslashes before those of a closing quote
// can all be escaped ones.
func pairs(n, slashes int) bool {
	if slashes == 0 {
		return n%2 == 0
	}
	return n%4 == 0
}

// closes reports whether what follows looks like the end of a value. Only asked
// where a quote could be either: an escaped one, inside of a string that is
// itself shown as Python, has the same backslashes.
func closes(s string, i int) bool {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i == len(s) || strings.IndexByte(",:;&}])\\'\"", s[i]) >= 0
}

// bareEnd is the end of the value without quotes that begins at i: a number, a
// call, a list, an object.
func bareEnd(s string, i int) int {
	if s[i] == '<' { // <Secret object at 0x7f…>
		return group(s, i)
	}
	for i < len(s) {
		switch c := s[i]; {
		case c == '(' || c == '[' || c == '{':
			i = group(s, i)
			continue
		case isSpace(c), strings.IndexByte(",;&)]}>\"'", c) >= 0:
			return i
		case c == '\\' && endsLine(s, i):
			return i
		}
		i++
	}
	return i
}

// schemes are words that stand before the secret in an Authorization header.
var schemes = []string{"bearer", "basic", "digest", "token", "apikey", "negotiate"}

// credentials is the end of a value without quotes, with the secret that follows
// if it is the name of a scheme.
func credentials(s string, v value) int {
	for _, scheme := range schemes {
		if !strings.EqualFold(s[v.from:v.to], scheme) {
			continue
		}
		i := v.to
		for i < len(s) && s[i] == ' ' {
			i++
		}
		if i > v.to && i < len(s) && s[i] != '<' {
			return max(bareEnd(s, i), v.to)
		}
	}
	return v.to
}

// endsLine reports whether the backslashes at i escape a quote or a space.
func endsLine(s string, i int) bool {
	i = skipSlashes(s, i)
	return i == len(s) || strings.IndexByte("nrt'\"", s[i]) >= 0
}

// group is the end of what the bracket at i opens; the end of the text if
// nothing closes it. The kinds of brackets are not told apart, but for <.
func group(s string, i int) int {
	angle := s[i] == '<'
	for depth := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isQuote(c):
			begin := i
			for begin > 0 && s[begin-1] == '\\' {
				begin--
			}
			_, _, end := content(s, begin)
			i = max(end-1, i)
		case c == '(' || c == '[' || c == '{' || angle && c == '<':
			depth++
		case c == ')' || c == ']' || c == '}' || angle && c == '>':
			depth--
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(s)
}
