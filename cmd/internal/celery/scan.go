package celery

// fields are the values of the known keys of one object. Of a key that occurs
// twice the last one counts, as in encoding/json.
type fields [eventKeys]value

type valueKind uint8

const (
	kindNone valueKind = iota
	kindNull
	kindTrue
	kindFalse
	kindNumber
	kindString
	kindArray
	kindObject
)

// value is where a value lies. The raw bytes of a string are without quotes;
// plain means that they are the text: ASCII without escapes, or what encoding/json
// has read. mended says of the latter that U+FFFD took the place of what is no text.
type value struct {
	raw    []byte
	kind   valueKind
	plain  bool
	mended bool
}

// maxDepth is how deep the scanner follows nesting before it leaves the text
// to encoding/json.
const maxDepth = 64

// scanner walks JSON text that is complete in b.
type scanner struct {
	b []byte
	i int
	// strange is set by what is correct but for encoding/json to read,
	// nonFinite by a bare NaN or Infinity.
	strange   bool
	nonFinite bool
}

func (s *scanner) space() {
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
func (s *scanner) next(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// end reports whether nothing but space is left.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// object reads an object, from its brace. The values of the keys that known
// recognizes go to f; all of it is checked.
func (s *scanner) object(f *fields, known func([]byte) key, depth int) bool {
	if !s.next('{') {
		return false
	}
	if s.next('}') {
		return true
	}
	for {
		s.space()
		name, plain, ok := s.str()
		if !ok || !s.next(':') {
			return false
		}
		v, ok := s.value(depth)
		if !ok {
			return false
		}
		if f != nil {
			if k := known(name); k != keyNone {
				f[k] = v
			} else if !plain {
				s.strange = true // an escaped name may be any name
			}
		}
		if s.next(',') {
			continue
		}
		return s.next('}')
	}
}

// array reads an array, from its bracket.
func (s *scanner) array(depth int) bool {
	if !s.next('[') {
		return false
	}
	if s.next(']') {
		return true
	}
	for {
		if _, ok := s.value(depth); !ok {
			return false
		}
		if s.next(',') {
			continue
		}
		return s.next(']')
	}
}

// value reads any value.
func (s *scanner) value(depth int) (v value, ok bool) {
	s.space()
	if s.i >= len(s.b) {
		return v, false
	}
	from := s.i
	switch c := s.b[s.i]; {
	case c == '"':
		v.raw, v.plain, ok = s.str()
		v.kind = kindString
		return v, ok
	case c == '{' || c == '[':
		if depth >= maxDepth {
			s.strange = true
			return v, false
		}
		if c == '{' {
			v.kind, ok = kindObject, s.object(nil, nil, depth+1)
		} else {
			v.kind, ok = kindArray, s.array(depth+1)
		}
	case c == 'n':
		v.kind, ok = kindNull, s.literal("null")
	case c == 't':
		v.kind, ok = kindTrue, s.literal("true")
	case c == 'f':
		v.kind, ok = kindFalse, s.literal("false")
	case c == 'N':
		s.nonFinite, ok = true, s.literal("NaN")
	case c == 'I':
		s.nonFinite, ok = true, s.literal("Infinity")
	default:
		v.kind, ok = kindNumber, s.number()
	}
	v.raw = s.b[from:s.i]
	return v, ok
}

func (s *scanner) literal(word string) bool {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return false
	}
	s.i += len(word)
	return true
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i > from
}

func (s *scanner) number() bool {
	if s.b[s.i] == '-' {
		s.i++
		if s.i < len(s.b) && s.b[s.i] == 'I' {
			s.nonFinite = true
			return s.literal("Infinity")
		}
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return false
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return false
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		return s.digits()
	}
	return true
}
