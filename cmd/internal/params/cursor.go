package params

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"daybook/tsdb/task"
)

// A cursor is base64url of
//
//	version  1 byte
//	order    1 byte, 1 is oldest first
//	filters  8 bytes, the fingerprint
//	from, to, open before, row time   varints of microseconds
//	task_id  the rest but
//	check    4 bytes, CRC-32C of all before
//
// The hash in the order's triple is that of the task_id. The times are those of
// the first page: what was relative then stays where it was. There is one text
// for one place: another spelling of it is refused, as is what no page ever ends
// with.
const (
	cursorVersion = 1
	cursorMax     = 1 + 1 + 8 + 4*binary.MaxVarintLen64 + task.MaxID + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Cursor is the text that continues w behind a key.
func (w *List) Cursor(next task.Key) string {
	b := make([]byte, 0, cursorMax)
	b = append(b, cursorVersion, orderByte(w.Oldest))
	b = binary.BigEndian.AppendUint64(b, w.filters)
	for _, us := range [...]int64{w.From, w.To, w.OpenBefore, next.At} {
		b = binary.AppendVarint(b, us)
	}
	b = append(b, next.ID...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return base64.RawURLEncoding.EncodeToString(b)
}

func orderByte(oldest bool) byte {
	if oldest {
		return 1
	}
	return 0
}

// resume makes w go on behind a cursor.
func (w *List) resume(text string) error {
	damaged := &Error{"cursor: damaged, or not one of ours"}
	if len(text) > base64.RawURLEncoding.EncodedLen(cursorMax) {
		return damaged
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 1+1+8+4+4 || b[0] != cursorVersion {
		return damaged
	}
	b, check := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(b, castagnoli) != check {
		return damaged
	}
	if b[1] != orderByte(w.Oldest) || binary.BigEndian.Uint64(b[2:]) != w.filters {
		return &Error{"cursor: issued for other filters or another order"}
	}
	var at [4]int64
	rest := b[10:]
	for i := range at {
		us, n := binary.Varint(rest)
		if n <= 0 || us < 0 || us > task.MaxMicros {
			return damaged
		}
		at[i], rest = us, rest[n:]
	}
	id := string(rest)
	if task.CheckID(id) != nil {
		return damaged
	}
	if at[1] != 0 && at[0] > at[1] || (at[1] != 0) != (w.To != 0) || (at[2] != 0) != (w.OpenBefore != 0) {
		return damaged // a range that was not asked for
	}
	w.From, w.To, w.OpenBefore = at[0], at[1], at[2]
	w.After = &task.Key{At: at[3], Hash: task.HashID(id), ID: id}
	if w.Cursor(*w.After) != text { // line breaks are no part of base64, numbers longer than they have to be no part of ours
		return damaged
	}
	return nil
}
