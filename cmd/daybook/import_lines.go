package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A batch is as many lines as one request holds.
const (
	batchLines    = 500
	batchBytes    = 1 << 20
	maxImportLine = 4 << 20 // a daemon refuses longer ones
)

// line is a line of a file with its number, from 1.
type line struct {
	n    int
	text []byte
}

type batch struct {
	lines   []line
	tooLong []int // numbers of lines that are too long to be sent
	last    bool
}

// lineReader reads a file in batches; blank lines count and are skipped.
type lineReader struct {
	r *bufio.Reader
	n int
}

func newLineReader(r io.Reader) *lineReader {
	br := bufio.NewReaderSize(r, 64<<10)
	if head, _ := br.Peek(3); string(head) == "\xef\xbb\xbf" {
		_, _ = br.Discard(3) // was peeked
	}
	return &lineReader{r: br}
}

func (l *lineReader) batch() (batch, error) {
	var b batch
	for size := 0; len(b.lines) < batchLines && size < batchBytes && len(b.tooLong) < batchLines; {
		text, tooLong, err := l.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return b, fmt.Errorf("line %d: %w", l.n+1, err)
		}
		switch {
		case tooLong:
			b.tooLong = append(b.tooLong, l.n)
		case len(text) > 0:
			b.lines = append(b.lines, line{l.n, text})
			size += len(text) + 1
		}
		if err != nil {
			b.last = true
			break
		}
	}
	return b, nil
}

// next reads one line, without its end and what is blank around it.
func (l *lineReader) next() (text []byte, tooLong bool, err error) {
	l.n++
	for {
		part, err := l.r.ReadSlice('\n')
		if tooLong = tooLong || len(text)+len(part) > maxImportLine; tooLong {
			text = nil
		} else {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(text), tooLong, err
		}
	}
}

// decompress looks at how a file begins.
func decompress(f io.Reader) (r io.Reader, closer func(), err error) {
	br := bufio.NewReaderSize(f, 64<<10)
	head, _ := br.Peek(4) // a shorter file is not compressed
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		gz, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", err)
		}
		return gz, func() {}, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return br, func() {}, nil
}
