package head

import (
	"encoding/binary"
	"errors"
	"fmt"

	"daybook/tsdb/task"
)

// The kinds of log records: their first byte (docs/format/wal.md).
const (
	kindEvent = 'e'
	kindBlock = 'b' // of events: block.go
	kindCut   = 'c'
	kindDrop  = 'd'
	kindGap   = 'g'
	kindState = 's'
)

// Parked is the "day" of a cut that parks open invocations.
const Parked task.Day = -1

var errRecord = errors.New("not a log record")

func appendEvent(dst []byte, v *task.Invocation) []byte {
	return task.AppendLog(append(dst, kindEvent), v)
}

func encodeIDs(dst []byte, ids []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		if b, ok := task.PackID(id); ok {
			dst = append(append(dst, 0), b[:]...)
			continue
		}
		dst = append(append(dst, byte(len(id))), id...) // ids have 1 to 255 bytes
	}
	return dst
}

func encodeCut(cut uint64, day task.Day, ids []string) []byte {
	dst := binary.AppendUvarint([]byte{kindCut}, cut)
	return encodeIDs(binary.AppendVarint(dst, int64(day)), ids)
}

func encodeDrop(ids []string) []byte { return encodeIDs([]byte{kindDrop}, ids) }

func encodeGap(g task.Gap) []byte {
	dst := []byte{kindGap}
	for _, s := range []string{g.Source, g.Cause} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	for _, n := range []int64{g.From, g.To, g.Count} {
		dst = binary.AppendVarint(dst, n)
	}
	return dst
}

// encodeState leaves gone out as long as nothing has been deleted.
func encodeState(nextCut uint64, floor, gone task.Day) []byte {
	dst := binary.AppendVarint(binary.AppendUvarint([]byte{kindState}, nextCut), int64(floor))
	if gone > never {
		dst = binary.AppendVarint(dst, int64(gone))
	}
	return dst
}

// record is one decoded log record.
type record struct {
	kind  byte
	inv   task.Invocation
	cut   uint64
	day   task.Day // of a cut; the floor of a state
	gone  task.Day // of a state
	ids   []string
	gap   task.Gap
	bytes int
}

func decodeRecord(b []byte) (record, error) {
	if len(b) == 0 {
		return record{}, errRecord
	}
	r := record{kind: b[0], bytes: len(b), gone: never}
	d := decoder{b: b[1:]}
	var err error
	switch r.kind {
	case kindEvent:
		r.inv, err = task.DecodeBinary(d.b)
		return r, err
	case kindCut:
		r.cut, r.day = d.uvarint(), d.day()
		r.ids = d.ids()
	case kindDrop:
		r.ids = d.ids()
	case kindGap:
		r.gap = task.Gap{Source: d.text(), Cause: d.text(), From: d.varint(), To: d.varint(), Count: d.varint()}
	case kindState:
		r.cut, r.day = d.uvarint(), d.day()
		if len(d.b) > 0 {
			r.gone = d.day()
		}
	default:
		return r, fmt.Errorf("kind %q: %w", r.kind, errRecord)
	}
	if d.bad || len(d.b) != 0 {
		return r, fmt.Errorf("kind %q: %w", r.kind, errRecord)
	}
	return r, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	u, n := binary.Uvarint(d.b)
	return advance(d, u, n)
}

func (d *decoder) varint() int64 {
	i, n := binary.Varint(d.b)
	return advance(d, i, n)
}

// day takes a day no further from 1970 than never; a number cut to fit would
// be another day.
func (d *decoder) day() task.Day {
	n := d.varint()
	if n < int64(never) || n > -int64(never) {
		d.bad, d.b = true, nil
		return 0
	}
	return task.Day(n)
}

func advance[T any](d *decoder, v T, n int) T {
	if d.bad || n <= 0 {
		d.bad = true
		d.b = nil
		var zero T
		return zero
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) text() string { return string(d.take(d.uvarint())) }

func (d *decoder) ids() []string {
	n := d.uvarint()
	if n > uint64(len(d.b)) { // every id takes more than a byte
		d.bad = true
		return nil
	}
	ids := make([]string, 0, n)
	for range n {
		size := d.take(1)
		if d.bad {
			return nil
		}
		if size[0] == 0 {
			if b := d.take(16); !d.bad {
				ids = append(ids, task.UnpackID(b))
			}
			continue
		}
		ids = append(ids, string(d.take(uint64(size[0]))))
	}
	return ids
}
