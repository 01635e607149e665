package rollup

import "encoding/binary"

// codecVersion is the first byte of an encoded Rollup. docs/format/rollup.md
// describes what follows.
const codecVersion = 1

// The bits of the field mask behind the version: which parts follow. The
// states are bits 0 to 8, by number.
const (
	hasGivenUp = 1 << (iota + len(Counts{}.States))
	hasRetries
	hasRuntime
	hasWait
	hasWorkers
	hasQueues
	hasExceptions
	hasEnd
)

// AppendBinary appends the bytes of r: the same for equal content, however it
// came together.
func (r *Rollup) AppendBinary(dst []byte) []byte {
	dst = append(dst, codecVersion)
	dst = binary.AppendUvarint(dst, r.mask())
	for _, n := range r.States {
		dst = appendNonzero(dst, n)
	}
	dst = appendNonzero(dst, r.GivenUp)
	dst = appendNonzero(dst, r.Retries)
	dst = r.Runtime.append(dst)
	dst = r.Wait.append(dst)
	dst = r.Workers.append(dst)
	dst = r.Queues.append(dst)
	return r.Exceptions.append(dst)
}

func (r *Rollup) mask() uint64 {
	var mask uint64
	for i, n := range r.States {
		if n != 0 {
			mask |= 1 << i
		}
	}
	for _, part := range []struct {
		bit uint64
		has bool
	}{
		{hasGivenUp, r.GivenUp != 0},
		{hasRetries, r.Retries != 0},
		{hasRuntime, r.Runtime.count != 0},
		{hasWait, r.Wait.count != 0},
		{hasWorkers, len(r.Workers.entries) != 0},
		{hasQueues, len(r.Queues.entries) != 0},
		{hasExceptions, len(r.Exceptions.entries) != 0},
	} {
		if part.has {
			mask |= part.bit
		}
	}
	return mask
}

func appendNonzero(dst []byte, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return binary.AppendUvarint(dst, n)
}

// append writes the bins as tokens: an even one skips bins, an odd one is the
// count of the next bin. A lone value costs two or three bytes, and a run of
// bins one or two for each.
func (s *Sketch) append(dst []byte) []byte {
	if s.count == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.bins)))
	next := int32(0)
	for _, b := range s.bins {
		if b.index != next {
			dst = binary.AppendUvarint(dst, uint64(b.index-next)<<1)
		}
		dst = binary.AppendUvarint(dst, b.n<<1|1)
		next = b.index + 1
	}
	dst = binary.AppendUvarint(dst, uint64(s.min))
	if s.count == 1 {
		return dst // minimum, maximum and sum are one
	}
	dst = binary.AppendUvarint(dst, uint64(s.max-s.min))
	dst = binary.AppendUvarint(dst, s.sum.hi)
	return binary.AppendUvarint(dst, s.sum.lo)
}

func (t *Top) append(dst []byte) []byte {
	if len(t.entries) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.entries)))
	for _, e := range t.entries {
		dst = binary.AppendUvarint(dst, uint64(len(e.name)))
		dst = append(dst, e.name...)
		dst = binary.AppendUvarint(dst, e.n)
	}
	if len(t.entries) < TopNames {
		return dst
	}
	return binary.AppendUvarint(dst, t.other)
}
