package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// windowBytes is how much of a file is in memory while it is read; more only for a frame that is
// larger.
const windowBytes = 1 << 20

// scanner finds the frames of one file.
type scanner struct {
	r          io.ReaderAt
	limit      int64 // nothing at or beyond it is looked at
	salt       uint32
	checkpoint bool

	win []byte // a piece of the file …
	at  int64  // … that begins here
}

// frame is one intact frame. The payload is valid until the scanner moves.
type frame struct {
	off     int64
	payload []byte
	trailer bool
}

func (f frame) end() int64 { return f.off + frameOverhead + int64(len(f.payload)) }

// bytes returns n bytes at off, fewer only where the file ends.
func (s *scanner) bytes(off, n int64) ([]byte, error) {
	if n = min(n, s.limit-off); n <= 0 {
		return nil, nil
	}
	if off >= s.at && off+n <= s.at+int64(len(s.win)) {
		return s.win[off-s.at:][:n], nil
	}
	size := min(max(n, windowBytes), s.limit-off)
	if int64(cap(s.win)) < size || cap(s.win) > windowBytes && size <= windowBytes {
		s.win = make([]byte, size)
	}
	s.win, s.at = s.win[:size], off
	got, err := s.r.ReadAt(s.win, off)
	s.win = s.win[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		s.win = nil
		return nil, err
	}
	if int64(got) < size {
		s.limit = off + int64(got) // it was cut shorter while being read
	}
	return s.win[:min(n, int64(got))], nil
}

// frame returns the frame at off, or the reason why there is none.
func (s *scanner) frame(off int64) (f frame, reason string, err error) {
	h, err := s.bytes(off, frameOverhead)
	if err != nil {
		return f, "", err
	}
	if len(h) < frameOverhead {
		return f, "the file ends within a frame", nil
	}
	salt, length := binary.LittleEndian.Uint32(h[4:]), binary.LittleEndian.Uint32(h[8:])
	n, isTrailer := int64(length&^trailerFlag), length&trailerFlag != 0
	switch {
	case !bytes.Equal(h[:4], frameMagic[:]):
		return f, "no frame", nil
	case salt == 0 || s.salt != 0 && salt != s.salt:
		return f, "frame of another file", nil
	case n > MaxRecordBytes || isTrailer && (!s.checkpoint || n != trailerSize):
		return f, "length of a frame", nil
	case n > s.limit-off-frameOverhead:
		return f, "the file ends within a frame", nil
	}
	b, err := s.bytes(off, frameOverhead+n)
	if err != nil {
		return f, "", err
	}
	if int64(len(b)) < frameOverhead+n {
		return f, "the file ends within a frame", nil
	}
	if frameCRC(b[8:12], b[frameOverhead:]) != binary.LittleEndian.Uint32(b[12:]) {
		return f, "checksum of a frame", nil
	}
	return frame{off: off, payload: b[frameOverhead:], trailer: isTrailer}, "", nil
}

// next returns the offset of the first intact frame at or after off, or -1.
func (s *scanner) next(off int64) (int64, error) {
	anchor := frameMagic[:]
	if s.salt != 0 {
		anchor = binary.LittleEndian.AppendUint32(bytes.Clone(anchor), s.salt)
	}
	for {
		chunk, err := s.bytes(off, windowBytes)
		if err != nil {
			return 0, err
		}
		i := bytes.Index(chunk, anchor)
		switch {
		case i >= 0:
			off += int64(i)
			_, reason, err := s.frame(off)
			if err != nil {
				return 0, err
			}
			if reason == "" {
				return off, nil
			}
			off++
		case off+int64(len(chunk)) >= s.limit:
			return -1, nil
		default: // the anchor may lie across the chunk's end
			off += int64(len(chunk) - len(anchor) + 1)
		}
	}
}

// guessSalt is for a file whose header is lost: the salt of most intact frames.
func (s *scanner) guessSalt() error {
	votes := make(map[uint32]int)
	s.salt = 0
	var best uint32
	for off := int64(0); ; {
		off1, err := s.next(off)
		if err != nil {
			return err
		}
		if off1 < 0 {
			s.salt = best
			return nil
		}
		f, _, err := s.frame(off1)
		if err != nil {
			return err
		}
		h, err := s.bytes(off1, frameOverhead)
		if err != nil {
			return err
		}
		salt := binary.LittleEndian.Uint32(h[4:])
		if votes[salt]++; votes[salt] > votes[best] {
			best = salt
		}
		off = f.end()
	}
}

// hole is a run of bytes that is no frame.
type hole struct {
	off, length int64
	reason      string
}

// walked is what walk found.
type walked struct {
	records int64
	payload int64 // bytes of all records
	end     int64 // of the last intact frame; of the header when there is none; 0 without header
	holes   []hole
	tail    bool  // the last hole reaches to the limit: no intact frame follows it
	trailer frame // of a checkpoint; payload is a copy
}

// walk calls fn for every record of a file, in order, across damage. headerReason is not empty
// when the file has no readable header.
func (s *scanner) walk(headerReason string, fn func(f frame) error) (walked, error) {
	var w walked
	off := int64(headerSize)
	if headerReason != "" {
		off = 0
		if err := s.guessSalt(); err != nil {
			return w, err
		}
	}
	w.end = off
	for off < s.limit || off == 0 {
		f, reason, err := s.frame(off)
		if err != nil {
			return w, err
		}
		if off == 0 && headerReason != "" {
			reason = headerReason
		}
		if reason != "" {
			next, err := s.next(off + 1)
			if err != nil {
				return w, err
			}
			if next < 0 {
				w.holes = append(w.holes, hole{off, s.limit - off, reason})
				w.tail = true
				return w, nil
			}
			w.holes = append(w.holes, hole{off, next - off, reason})
			off = next
			continue
		}
		off, w.end = f.end(), f.end()
		if f.trailer {
			f.payload = bytes.Clone(f.payload)
			w.trailer = f
			continue
		}
		w.records++
		w.payload += int64(len(f.payload))
		if err := fn(f); err != nil {
			return w, err
		}
	}
	return w, nil
}
