package task

import (
	"cmp"
	"fmt"
	"time"
)

// HashID is the 64-bit hash of a task_id by which rows of one microsecond are
// ordered and ids are looked up: FNV-1a with a final avalanche. It is part of
// the block format; never change it.
func HashID(id string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(id); i++ {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Key is the place of an invocation in the order of everything: row time in
// microseconds, then hash, then task_id.
type Key struct {
	At   int64
	Hash uint64
	ID   string
}

// Compare is negative when k comes before o in ascending order.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.At, o.At); c != 0 {
		return c
	}
	if c := cmp.Compare(k.Hash, o.Hash); c != 0 {
		return c
	}
	return cmp.Compare(k.ID, o.ID)
}

const microsPerDay = 24 * 60 * 60 * 1_000_000

// Day is a UTC day, counted from 1970-01-01.
type Day int32

// DayOf is the day that holds a time in microseconds.
func DayOf(us int64) Day {
	d := us / microsPerDay
	if us%microsPerDay < 0 {
		d--
	}
	return Day(d)
}

// Start is the day's first microsecond.
func (d Day) Start() int64 { return int64(d) * microsPerDay }

// End is the first microsecond after the day.
func (d Day) End() int64 { return (int64(d) + 1) * microsPerDay }

// String is YYYY-MM-DD.
func (d Day) String() string { return time.UnixMicro(d.Start()).UTC().Format(time.DateOnly) }

// ParseDay reads exactly what String prints.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || len(s) != len(time.DateOnly) || t.Format(time.DateOnly) != s {
		return 0, fmt.Errorf("not a day: %q (want YYYY-MM-DD)", clip(s, 64))
	}
	return DayOf(t.UnixMicro()), nil
}

// PackID returns the 16 bytes of a task_id that is a UUID in its canonical
// lower-case text form, and whether it is one. Only those are stored as bytes:
// every other text, also an upper-case UUID, is stored as it is, so that the
// stored form gives back the identical text.
func PackID(id string) (b [16]byte, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return b, false
	}
	var seen byte
	for i, at := range hexPairs {
		hi, lo := hexValues[id[at]], hexValues[id[at+1]]
		seen |= hi | lo
		b[i] = hi<<4 | lo
	}
	if seen > 15 {
		return [16]byte{}, false
	}
	return b, true
}

// hexPairs are the places of a UUID's bytes in its text.
var hexPairs = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// hexValues are the values of lower-case digits, more than 15 for all else. A
// table has no branches to predict: digits are random, and a cut packs every id.
var hexValues = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i, c := range []byte(hexDigits) {
		v[c] = byte(i)
	}
	return v
}()

// UnpackID is the text of 16 packed bytes.
func UnpackID(b []byte) string {
	var s [36]byte
	n := 0
	for i := range s {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			s[i] = '-'
			continue
		}
		s[i] = hexDigits[b[n/2]>>(4*(1-n%2))&15]
		n++
	}
	return string(s[:])
}
