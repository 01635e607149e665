package celery

import (
	"encoding/binary"
	"math/bits"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, of eight bytes, those that are a quote, a backslash, a control
// character or not ASCII. Its lowest mark is exact: a false one can only lie
// above a true one, because it comes from a borrow.
func special(x uint64) uint64 {
	quote, slash := x^'"'*ones, x^'\\'*ones
	return ((quote-ones)&^quote | (slash-ones)&^slash | (x-0x20*ones)&^x | x) & highs
}

// str reads a string from its quote and checks its escapes.
func (s *scanner) str() (raw []byte, plain, ok bool) {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return nil, false, false
	}
	b, i := s.b, s.i+1
	from := i
	plain = true
	for {
		for len(b)-i >= 8 {
			m := special(binary.LittleEndian.Uint64(b[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return nil, false, false
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return b[from:i], plain, true
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return nil, false, false
			}
			plain = false
			i += n
		case c < 0x20:
			return nil, false, false
		case c >= 0x80:
			plain = false
			i++
		default:
			i++
		}
	}
}

// escape is the length of the escape that b begins with, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && unhex(b[2]) >= 0 && unhex(b[3]) >= 0 && unhex(b[4]) >= 0 && unhex(b[5]) >= 0 {
			return 6
		}
	}
	return 0
}

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
