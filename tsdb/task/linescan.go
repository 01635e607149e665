package task

import "encoding/json"

// lineScanner walks a line of JSON. What it takes is correct; what it does not
// take may be.
type lineScanner struct {
	b []byte
	i int
}

func (s *lineScanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return
		}
	}
}

// next skips space and reports whether c follows; if so it is consumed.
func (s *lineScanner) next(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// end reports whether nothing but space is left.
func (s *lineScanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// inString says which bytes end the plain part of a string: quotes, escapes,
// control characters and what is not ASCII.
var inString = func() (t [256]bool) {
	for c := range t {
		t[c] = c < 0x20 || c >= 0x80 || c == '"' || c == '\\'
	}
	return t
}()

// str reads a string and returns what is between its quotes; plain means that
// this is the text. Its escapes are not checked.
func (s *lineScanner) str() (raw []byte, plain, ok bool) {
	if !s.next('"') {
		return nil, false, false
	}
	b, i := s.b, s.i
	for plain = true; i < len(b); i++ {
		c := b[i]
		if !inString[c] {
			continue
		}
		switch {
		case c == '"':
			raw = b[s.i:i]
			s.i = i + 1
			return raw, plain, true
		case c < 0x20:
			return nil, false, false
		case c == '\\':
			i++
		}
		plain = false
	}
	return nil, false, false
}

// null consumes a null.
func (s *lineScanner) null() bool { return s.word("null") }

func (s *lineScanner) word(w string) bool {
	s.space()
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

func (s *lineScanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i > from
}

// number reads a number.
func (s *lineScanner) number() (raw []byte, ok bool) {
	s.space()
	from := s.i
	at := func(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }
	if at('-') {
		s.i++
	}
	if at('0') {
		s.i++
	} else if !s.digits() {
		return nil, false
	}
	if at('.') {
		s.i++
		if !s.digits() {
			return nil, false
		}
	}
	if at('e') || at('E') {
		s.i++
		if at('+') || at('-') {
			s.i++
		}
		if !s.digits() {
			return nil, false
		}
	}
	return s.b[from:s.i], true
}

// time reads a time as it stands: a number, or a string without escapes.
func (s *lineScanner) time(to *json.RawMessage) bool {
	s.space()
	from := s.i
	if s.i < len(s.b) && s.b[s.i] == '"' {
		if _, plain, ok := s.str(); !ok || !plain {
			return false
		}
	} else if _, ok := s.number(); !ok {
		return false
	}
	*to = s.b[from:s.i]
	return true
}

// skip passes over a value that nobody wants, if it is a simple one.
func (s *lineScanner) skip() bool {
	s.space()
	if s.i == len(s.b) {
		return false
	}
	switch s.b[s.i] {
	case '"':
		_, plain, ok := s.str()
		return ok && plain
	case 'n':
		return s.null()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	}
	_, ok := s.number()
	return ok
}
