package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// maxLine is the longest line that is looked at. Fields are cut to their limits
// (the longest has 64 KiB), so a longer line says nothing more.
const maxLine = 4 << 20

// pieceError says why one line or element cannot be looked at; the next one can.
type pieceError string

func (e pieceError) Error() string { return string(e) }

var errLongPiece = pieceError(fmt.Sprintf("longer than %d bytes", maxLine))

// source yields the pieces of a body that are one record each.
type source interface {
	// next returns the next piece that is not blank, valid until the next
	// call; io.EOF at the end; a pieceError for one that cannot be looked at;
	// any other error ends the body.
	next() ([]byte, error)
	// number is that of the piece that next returned last, from 1.
	number() int
	// unfinished reports whether that piece ran into the end of the body.
	unfinished() bool
}

// byteOrderMark is what some editors put in front of UTF-8.
var byteOrderMark = []byte("\xef\xbb\xbf")

const readBuffer = 16 << 10

// blank is what JSON takes for white space.
const blank = " \t\r\n"

// begin begins a body, behind its byte order mark.
func begin(br *bufio.Reader, r io.Reader) *bufio.Reader {
	br.Reset(r)
	if head, _ := br.Peek(len(byteOrderMark)); bytes.Equal(head, byteOrderMark) {
		_, _ = br.Discard(len(byteOrderMark)) // was peeked
	}
	return br
}

// pieceBuffer gathers a piece, up to maxLine bytes of borrowed memory.
type pieceBuffer struct {
	b       []byte
	tooLong bool
	owed    int // bytes borrowed so far
	borrow  func(bytes int64) error
}

func (p *pieceBuffer) reset() { p.b, p.tooLong = p.b[:0], false }

// room makes sure that n more bytes fit, or sets tooLong.
func (p *pieceBuffer) room(n int) error {
	need := len(p.b) + n
	if p.tooLong = p.tooLong || need > maxLine; p.tooLong {
		p.b = p.b[:0]
		return nil
	}
	if need <= p.owed {
		return nil
	}
	grow := max(2*need, 4<<10) - p.owed
	if err := p.borrow(int64(grow)); err != nil {
		return err
	}
	p.owed += grow
	p.b = slices.Grow(p.b, p.owed-len(p.b))
	return nil
}

func (p *pieceBuffer) add(part []byte) error {
	if err := p.room(len(part)); err != nil || p.tooLong {
		return err
	}
	p.b = append(p.b, part...)
	return nil
}

// lineSource splits NDJSON. Lines end in LF or CRLF, the last one may end with
// the body; blank lines count and are skipped.
type lineSource struct {
	r    *bufio.Reader
	long pieceBuffer // a line that does not fit r's buffer
	n    int
	open bool // the last line came without its end
}

func (l *lineSource) number() int      { return l.n }
func (l *lineSource) unfinished() bool { return l.open }

func (l *lineSource) next() ([]byte, error) {
	for {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		if line = bytes.Trim(line, blank); len(line) > 0 {
			return line, nil
		}
	}
}

func (l *lineSource) line() ([]byte, error) {
	part, err := l.r.ReadSlice('\n')
	if err == nil {
		l.n++
		return part, nil
	}
	l.long.reset()
	for errors.Is(err, bufio.ErrBufferFull) {
		if err := l.long.add(part); err != nil {
			return nil, err
		}
		part, err = l.r.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := l.long.add(part); err != nil {
		return nil, err
	}
	if err != nil && len(l.long.b) == 0 && !l.long.tooLong {
		return nil, io.EOF
	}
	l.n++
	l.open = err != nil
	if l.long.tooLong {
		return nil, errLongPiece
	}
	return l.long.b, nil
}
