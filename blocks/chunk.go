package blocks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"daybook/tsdb/task"
)

// The long fields of chunkRows rows share one compressed chunk of
//
//	uvarint  number of rows
//	uvarint  lengths: those of all rows for the first field, then the second, …
//	bytes    texts in the same order
//
// Field by field, because like stands beside like then (docs/adr/0004-block-format.md).
// A byte says how it is compressed. Sealed rows are kept for weeks, and are a
// zstd frame; those of a live file are compressed again within a day, and are
// an S2 block, which costs a quarter of the CPU, behind four bytes of CRC-32C
// of what was compressed (docs/adr/0016-name-runs.md).
const (
	chunkZstd   = 1
	chunkS2     = 2
	chunkFields = 5
	// chunkBytes ends a chunk early, so that reading one row of a day full of
	// tracebacks stays cheap.
	chunkBytes = 1 << 20
	// maxChunkBytes bounds what a chunk may decompress to, also a damaged one.
	maxChunkBytes = 16 << 20
)

// chunkTexts are the texts of one row: args, kwargs, result, exception
// message, traceback.
type chunkTexts [chunkFields]string

func textsOf(v *task.Invocation) chunkTexts {
	return chunkTexts{v.Args, v.Kwargs, v.Outcome.Result, v.Outcome.ExceptionMessage, v.Outcome.Traceback}
}

func (t *chunkTexts) empty() bool { return *t == chunkTexts{} }

func (t *chunkTexts) set(v *task.Invocation) {
	v.Args, v.Kwargs = t[0], t[1]
	v.Outcome.Result, v.Outcome.ExceptionMessage, v.Outcome.Traceback = t[2], t[3], t[4]
}

// chunkBuilder collects rows into one chunk.
type chunkBuilder struct {
	rows  int
	size  int
	lens  [chunkFields][]byte
	texts [chunkFields][]byte
	raw   []byte
	enc   *zstd.Encoder // nil: S2, which files of version 3 know
}

func (b *chunkBuilder) add(t *chunkTexts) {
	for i, s := range t {
		b.lens[i] = binary.AppendUvarint(b.lens[i], uint64(len(s)))
		b.texts[i] = append(b.texts[i], s...)
		b.size += len(s)
	}
	b.rows++
}

func (b *chunkBuilder) full() bool { return b.rows == chunkRows || b.size >= chunkBytes }

// take returns the encoded chunk, appended to dst, and empties the builder.
func (b *chunkBuilder) take(dst []byte) ([]byte, error) {
	b.raw = binary.AppendUvarint(b.raw[:0], uint64(b.rows))
	for i := range b.lens {
		b.raw = append(b.raw, b.lens[i]...)
	}
	for i := range b.texts {
		b.raw = append(b.raw, b.texts[i]...)
		b.lens[i], b.texts[i] = b.lens[i][:0], b.texts[i][:0]
	}
	b.rows, b.size = 0, 0
	if len(b.raw) > maxChunkBytes {
		return nil, fmt.Errorf("the details of a row have more than %d bytes", maxChunkBytes)
	}
	if b.enc != nil {
		return b.enc.EncodeAll(b.raw, append(dst, chunkZstd)), nil
	}
	dst = binary.LittleEndian.AppendUint32(append(dst, chunkS2), crc32.Checksum(b.raw, castagnoli))
	from := len(dst)
	dst = slices.Grow(dst, s2.MaxEncodedLen(len(b.raw)))
	return dst[:from+len(s2.Encode(dst[from:cap(dst)], b.raw))], nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealEncoder is the encoder of one build: sealed rows are kept for weeks, and
// take 5 bytes less at 1.3 µs (docs/adr/0015-cut-and-seal-costs.md).
func sealEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
}

// oldEncoder is that of live files that an older version began, and may go on with.
var oldEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
})

// The decoder holds tables of some hundred kilobytes and is safe for concurrent
// use, so that all files share it.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxChunkBytes))
})

// errChunk is returned for a chunk that is not of the format.
var errChunk = errors.New("a chunk of details is not of the format")

// chunk is a decompressed chunk.
type chunk struct {
	text string // all texts
	ends [chunkFields][]uint32
}

// decodeChunk reads what take wrote. Damaged bytes give an error, never a
// panic or more than maxChunkBytes.
func decodeChunk(data []byte) (*chunk, error) {
	raw, err := decompress(data)
	if err != nil {
		return nil, err
	}
	rows, n := binary.Uvarint(raw)
	if n <= 0 || rows == 0 || rows > chunkRows {
		return nil, errChunk
	}
	raw = raw[n:]
	c := &chunk{}
	total := uint64(0)
	for i := range c.ends {
		c.ends[i] = make([]uint32, rows)
		for j := range c.ends[i] {
			length, n := binary.Uvarint(raw)
			if n <= 0 || length > maxChunkBytes {
				return nil, errChunk
			}
			raw = raw[n:]
			total += length
			c.ends[i][j] = uint32(total)
		}
	}
	if total != uint64(len(raw)) {
		return nil, errChunk
	}
	c.text = string(raw)
	return c, nil
}

func decompress(data []byte) ([]byte, error) {
	switch {
	case len(data) > 0 && data[0] == chunkZstd:
		dec, err := zstdDecoder()
		if err != nil {
			return nil, err
		}
		raw, err := dec.DecodeAll(data[1:], nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errChunk, err)
		}
		return raw, nil
	case len(data) > 5 && data[0] == chunkS2:
		if n, err := s2.DecodedLen(data[5:]); err != nil || n > maxChunkBytes {
			return nil, errChunk
		}
		raw, err := s2.Decode(nil, data[5:])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errChunk, err)
		}
		if crc32.Checksum(raw, castagnoli) != binary.LittleEndian.Uint32(data[1:]) {
			return nil, fmt.Errorf("%w: its checksum is of other bytes", errChunk)
		}
		return raw, nil
	}
	return nil, errChunk
}

func (c *chunk) rows() int { return len(c.ends[0]) }

// row returns the texts of one row; they share the chunk's memory.
func (c *chunk) row(i int) (t chunkTexts, err error) {
	if i < 0 || i >= c.rows() {
		return t, errChunk
	}
	for f := range t {
		from := uint32(0)
		switch {
		case i > 0:
			from = c.ends[f][i-1]
		case f > 0:
			from = c.ends[f-1][c.rows()-1]
		}
		t[f] = c.text[from:c.ends[f][i]]
	}
	return t, nil
}

// size is about the bytes of memory a chunk holds.
func (c *chunk) size() int { return len(c.text) + 4*chunkFields*c.rows() + 128 }
