package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

const (
	errEmptyElement = pieceError("the element is empty")
	errNotClosed    = pieceError("the array is not closed: the body seems to be cut short")
	errAfterArray   = pieceError("there is something behind the end of the array")
)

// arraySource splits one JSON array into its elements without understanding
// them: commas outside of strings and brackets divide. What is wrong inside of
// an element stays inside of it.
type arraySource struct {
	r     *bufio.Reader
	buf   pieceBuffer
	n     int
	state arrayState
}

type arrayState int

const (
	arrayInside arrayState = iota
	arrayClosed            // the bracket was read
	arrayCut               // the body ended before the bracket
	arrayDone
)

// beginsArray reports whether the body is a JSON array, and consumes what is in
// front of its first element if it is.
func beginsArray(r *bufio.Reader) bool {
	for i := 1; ; i++ {
		head, err := r.Peek(i)
		if err != nil {
			return false // whoever reads next sees it again
		}
		switch c := head[i-1]; {
		case strings.IndexByte(blank, c) >= 0:
		case c == '[':
			_, err := r.Discard(i)
			return err == nil
		default:
			return false
		}
	}
}

func (s *arraySource) number() int      { return s.n }
func (s *arraySource) unfinished() bool { return s.state == arrayCut }

func (s *arraySource) next() ([]byte, error) {
	switch s.state {
	case arrayInside:
		return s.element()
	case arrayClosed:
		s.state = arrayDone
		return s.behind()
	case arrayCut:
		s.state = arrayDone
		s.n++
		return nil, errNotClosed
	}
	return nil, io.EOF
}

func (s *arraySource) element() ([]byte, error) {
	if err := s.scan(); err != nil {
		return nil, err
	}
	element := bytes.Trim(s.buf.b, blank)
	nothing := len(element) == 0 && !s.buf.tooLong
	if nothing && (s.state == arrayCut || s.state == arrayClosed && s.n == 0) {
		return s.next() // not an element, only the end
	}
	s.n++
	switch {
	case s.buf.tooLong:
		return nil, errLongPiece
	case nothing:
		return nil, errEmptyElement
	}
	return element, nil
}

// behind makes sure that nothing follows the array.
func (s *arraySource) behind() ([]byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return nil, err
		}
		if strings.IndexByte(blank, c) < 0 {
			s.n++
			return nil, errAfterArray
		}
	}
}

// scan reads into buf up to the end of the element and sets the state that the
// end brings.
func (s *arraySource) scan() error {
	s.buf.reset()
	depth, quoted, escaped := 0, false, false
	for {
		c, err := s.r.ReadByte()
		if errors.Is(err, io.EOF) {
			s.state = arrayCut
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case depth == 0 && c == ',':
			return nil
		case depth == 0 && c == ']':
			s.state = arrayClosed
			return nil
		case c == '}' || c == ']':
			depth = max(depth-1, 0)
		}
		if err := s.buf.room(1); err != nil {
			return err
		}
		if !s.buf.tooLong {
			s.buf.b = append(s.buf.b, c)
		}
	}
}
