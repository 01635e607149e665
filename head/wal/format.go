package wal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// The format is specified in docs/format/wal.md. All integers are little endian.
const (
	// Versions differ in what the caller may put into records; an older program would pass
	// over them, and a checkpoint of it would take them away.
	formatVersion = 3
	headerSize    = 48
	frameOverhead = 16
	trailerSize   = 16 // payload of a checkpoint's last frame

	// MaxRecordBytes is the largest record that is written, and that a reader believes.
	MaxRecordBytes = 64 << 20

	// trailerFlag in a frame's length marks the end of a checkpoint.
	trailerFlag = 1 << 31
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	segmentMagic    = [8]byte([]byte("daybkwal"))
	checkpointMagic = [8]byte([]byte("daybkckp"))
	// frameMagic is not valid UTF-8 and has no zero byte: text and holes do not contain it.
	frameMagic = [4]byte{0xDB, 'r', 'e', 0xC0}
)

// header is the first thing in a segment or checkpoint. It is fsynced before the file gets its
// name, so a file that has its name and no header is damaged, not torn.
type header struct {
	number uint64
	// prev is the segment that was written before this one (0: none) and prevLen its length.
	// Bytes of it beyond prevLen belong to a batch that was refused, and segments with a
	// number between prev and this one hold no acknowledged record.
	prev    uint64
	prevLen int64
	// salt is random and repeated in every frame: a record that happens to contain, or was
	// made to contain, the image of a frame cannot pass for one.
	salt uint32
}

func newSalt() uint32 {
	for {
		if s := rand.Uint32(); s != 0 { // 0 means unknown
			return s
		}
	}
}

func (h header) encode(magic [8]byte) []byte {
	b := make([]byte, headerSize)
	copy(b, magic[:])
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
	binary.LittleEndian.PutUint64(b[16:], h.number)
	binary.LittleEndian.PutUint64(b[24:], h.prev)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.prevLen))
	binary.LittleEndian.PutUint32(b[40:], h.salt)
	binary.LittleEndian.PutUint32(b[44:], crc32.Checksum(b[:44], castagnoli))
	return b
}

// decodeHeader returns the header, or the reason why it is none, or the version when that is a
// newer one. Magic and version have a checksum of their own, which every future version keeps:
// a flipped bit in the version must not look like the future.
func decodeHeader(b []byte, magic [8]byte) (h header, newer uint32, reason string) {
	if len(b) < 16 || !bytes.Equal(b[:8], magic[:]) ||
		crc32.Checksum(b[:12], castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return h, 0, "no file header"
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > formatVersion {
		return h, v, ""
	}
	if len(b) < headerSize || crc32.Checksum(b[:44], castagnoli) != binary.LittleEndian.Uint32(b[44:]) {
		return h, 0, "checksum of the file header"
	}
	h.number = binary.LittleEndian.Uint64(b[16:])
	h.prev = binary.LittleEndian.Uint64(b[24:])
	h.prevLen = int64(binary.LittleEndian.Uint64(b[32:]))
	h.salt = binary.LittleEndian.Uint32(b[40:])
	if h.prevLen < 0 || h.prev != 0 && h.prev >= h.number {
		return header{}, 0, "senseless file header"
	}
	return h, 0, ""
}

// appendFrame adds a frame for rec to buf. The salt is filled in by stamp, when it is known which
// file the frame goes to.
func appendFrame(buf, rec []byte, flag uint32) []byte {
	at := len(buf)
	buf = append(buf, frameMagic[:]...)
	buf = binary.LittleEndian.AppendUint32(buf, 0)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(rec))|flag)
	buf = binary.LittleEndian.AppendUint32(buf, frameCRC(buf[at+8:], rec))
	return append(buf, rec...)
}

func frameCRC(length, rec []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, rec)
}

// stamp writes the salt into all frames of buf, which holds whole frames only.
func stamp(buf []byte, salt uint32) {
	for len(buf) > 0 {
		binary.LittleEndian.PutUint32(buf[4:], salt)
		n := binary.LittleEndian.Uint32(buf[8:]) &^ trailerFlag
		buf = buf[frameOverhead+int(n):]
	}
}

func trailer(records, payload int64) []byte {
	b := make([]byte, trailerSize)
	binary.LittleEndian.PutUint64(b, uint64(records))
	binary.LittleEndian.PutUint64(b[8:], uint64(payload))
	return b
}
