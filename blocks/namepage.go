package blocks

import (
	"encoding/binary"
	"fmt"
)

// The rows of a task are found through pages of (name, tick) entries, ascending.
// An entry takes two to three bytes; one of an ordinary index on the name took
// 25 in a live file and 10 in a sealed one, and a fifth of the CPU of a cut
// (docs/adr/0016-name-runs.md). The tick leads to the rows of a millisecond,
// and the row says whether it is of the name: entries outlive their rows.

const (
	// nameHeadBytes is the first entry of a page, in full: pages are searched by it.
	nameHeadBytes = 8
	// namePageBytes is what a page has at most: a row of that fits a database page.
	namePageBytes = 4032
	// A tick is 1024 microseconds. Finer ones would take a byte and a half more.
	tickShift = 10
	tickBits  = timeBits - tickShift
	dayTicks  = dayMicros >> tickShift
	// nameTop is the greatest name that is told apart; those beyond share it.
	nameTop = 1<<(64-tickBits) - 1
)

// nameEntry says that rows of a name may be in a tick of the day: the name's id
// in task_name, 0 for none, above tickBits.
type nameEntry uint64

func entryOf(name, tick int64) nameEntry {
	return nameEntry(min(name, nameTop)<<tickBits | tick)
}

// tickOf is the tick of a time of the day in microseconds, tickOfKey that of a key.
func tickOf(micros int64) int64 { return micros >> tickShift }
func tickOfKey(key int64) int64 { return key >> (slotBits + tickShift) }

func (e nameEntry) name() int64 { return int64(e >> tickBits) }
func (e nameEntry) tick() int64 { return int64(e & (1<<tickBits - 1)) }

var errNamePage = fmt.Errorf("a page of names: %w", errRow)

// appendName appends an entry to a page; last is the one before it there.
func appendName(page []byte, last, e nameEntry) []byte {
	if len(page) == 0 {
		return binary.BigEndian.AppendUint64(page, uint64(e))
	}
	return binary.AppendUvarint(page, uint64(e-last))
}

// nameHead is the first entry of a page.
func nameHead(page []byte) (nameEntry, error) {
	if len(page) < nameHeadBytes || len(page) > namePageBytes {
		return 0, errNamePage
	}
	return nameEntry(binary.BigEndian.Uint64(page)), nil
}

// appendNames appends the entries of a page, in order. Damaged bytes give an
// error.
func appendNames(dst []nameEntry, page []byte) ([]nameEntry, error) {
	e, err := nameHead(page)
	if err != nil {
		return dst, err
	}
	for b := page[nameHeadBytes:]; ; {
		if e.tick() >= dayTicks {
			return dst, errNamePage
		}
		if dst = append(dst, e); len(b) == 0 {
			return dst, nil
		}
		step, n := binary.Uvarint(b)
		if n <= 0 || step == 0 || e+nameEntry(step) < e {
			return dst, errNamePage
		}
		b = b[n:]
		e += nameEntry(step)
	}
}
