package head

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"

	"daybook/head/wal"
	"daybook/tsdb/task"
)

const (
	// blockBytes bounds the plain records of a block: so much is lost with a
	// damaged frame. 16 KiB take 8 % more, 256 KiB 4 % less (ADR 14).
	blockBytes = 64 << 10
	// leastBlock is what stays plain: a block of less saves little.
	leastBlock = 4 << 10
	// maxBlock is what a reader takes from a block, which may have been
	// written with other bounds than ours.
	maxBlock = 1 << 20
	// spareRecords bounds the buffers that are kept for another request.
	spareRecords = 2 << 20
)

// Records are the log records of invocations, in order: plain, and as blocks.
// Both are made before the head's lock is taken, because only then it turns
// out how many are accepted. The buffers are used again, as the log copies:
// one by one records were half of what ingest allocated.
type Records struct {
	buf    []byte // the plain ones
	ends   []int  // where they end in buf
	packed []byte
	blocks []block // ascending
	next   int     // the first block that can be taken
	done   int     // how many records have been taken
	out    [][]byte
}

// block is records[from:to], packed[start:end].
type block struct{ from, to, start, end int }

var spare = sync.Pool{New: func() any { return new(Records) }}

// Encode makes the log records of invocations. GiveBack when they are logged.
func Encode(invs []*task.Invocation) *Records {
	r, _ := spare.Get().(*Records)
	r.reset()
	for _, v := range invs {
		r.add(v)
	}
	r.pack()
	return r
}

// GiveBack lets the buffers be used for others.
func (r *Records) GiveBack() {
	if cap(r.buf)+cap(r.packed) <= spareRecords {
		spare.Put(r)
	}
}

// Len is how many records there are, those taken included.
func (r *Records) Len() int { return len(r.ends) }

// Bytes is what they take at most in the log, without frames.
func (r *Records) Bytes() int64 { return int64(len(r.buf)) }

func (r *Records) reset() {
	r.buf, r.ends, r.packed, r.blocks, r.next, r.done = r.buf[:0], r.ends[:0], r.packed[:0], r.blocks[:0], 0, 0
}

func (r *Records) add(v *task.Invocation) {
	r.buf = appendEvent(r.buf, v)
	r.ends = append(r.ends, len(r.buf))
}

// start is where record i begins in buf.
func (r *Records) start(i int) int {
	if i == 0 {
		return 0
	}
	return r.ends[i-1]
}

// pack makes blocks of neighbours.
func (r *Records) pack() {
	for from := 0; from < len(r.ends); {
		to := from + 1
		for to < len(r.ends) && r.ends[to]-r.start(from) <= blockBytes {
			to++
		}
		if n := r.ends[to-1] - r.start(from); n >= leastBlock && n <= blockBytes {
			r.packBlock(from, to)
		}
		from = to
	}
}

func (r *Records) packBlock(from, to int) {
	plain := r.buf[r.start(from):r.ends[to-1]]
	b := block{from: from, to: to, start: len(r.packed)}
	r.packed = append(r.packed, kindBlock)
	r.packed = binary.AppendUvarint(r.packed, uint64(to-from))
	for i := from; i < to; i++ {
		r.packed = binary.AppendUvarint(r.packed, uint64(r.ends[i]-r.start(i)))
	}
	at := len(r.packed)
	r.packed = slices.Grow(r.packed, s2.MaxEncodedLen(len(plain)))
	r.packed = r.packed[:at+len(s2.Encode(r.packed[at:cap(r.packed)], plain))]
	if b.end = len(r.packed); b.end-b.start >= len(plain) {
		r.packed = r.packed[:b.start]
		return
	}
	r.blocks = append(r.blocks, b)
}

// take returns what is to be logged for the next n records but those in skip,
// which are ascending places among the n: the blocks that stand for nothing else,
// and what is not in one of them plain. It is valid until the next call, and
// compresses nothing: the caller holds the head's lock.
func (r *Records) take(n int, skip []int) [][]byte {
	r.out = r.out[:0]
	begin, end := r.done, r.done+n
	plain := func(from, to int) { // and what of skip comes before to is done with
		for i := from; i < to; i++ {
			if len(skip) > 0 && begin+skip[0] == i {
				skip = skip[1:]
				continue
			}
			r.out = append(r.out, r.buf[r.start(i):r.ends[i]])
		}
	}
	i := begin
	for ; r.next < len(r.blocks) && r.blocks[r.next].to <= end; r.next++ {
		b := r.blocks[r.next]
		if b.from < i { // a part of it was taken before
			continue
		}
		plain(i, b.from)
		if i = b.from; len(skip) > 0 && begin+skip[0] < b.to {
			continue
		}
		r.out = append(r.out, r.packed[b.start:b.end])
		i = b.to
	}
	plain(i, end)
	r.done = end
	return r.out
}

// EmitAll hands the log records of invocations over, in the form in which they
// take least. What emit is given is valid during the call.
func EmitAll(invs []*task.Invocation, emit func(rec []byte) error) error {
	const at = 16 * blockBytes // so that few are left that fill no block
	var r Records
	for i, v := range invs {
		if r.add(v); len(r.buf) < at && i < len(invs)-1 {
			continue
		}
		r.pack()
		for _, rec := range r.take(r.Len(), nil) {
			if err := emit(rec); err != nil {
				return err
			}
		}
		r.reset()
	}
	return nil
}

var errBlock = errors.New("not a block of log records")

// understood calls fn for every record in a log record, and odd for
// every one that cannot be understood. If there is one it returns
// wal.ErrNotUnderstood, in the end, so that the log keeps the file.
func (u *unpacker) understood(b []byte, fn func(rec *record) error, odd func()) error {
	var first error
	pass := func(err error) {
		odd()
		first = cmp.Or(first, err)
	}
	err := u.each(b, func(b []byte) error {
		rec, err := decodeRecord(b)
		if err != nil {
			pass(err)
			return nil
		}
		return fn(&rec)
	})
	if errors.Is(err, errBlock) {
		pass(err)
		err = nil
	}
	if err == nil && first != nil {
		err = fmt.Errorf("%w: %w", wal.ErrNotUnderstood, first)
	}
	return err
}

// unpacker takes blocks apart. Its buffer is used again.
type unpacker struct{ buf []byte }

// each calls fn for every record in a log record: itself, unless it is a
// block. Those of a block are given only if all of it can be read, and are
// events; they are valid during the call.
func (u *unpacker) each(rec []byte, fn func(rec []byte) error) error {
	if len(rec) == 0 || rec[0] != kindBlock {
		return fn(rec)
	}
	d := decoder{b: rec[1:]}
	n, sum := d.uvarint(), uint64(0)
	if n == 0 || n > uint64(len(d.b)) {
		return errBlock
	}
	lengths := decoder{b: d.b}
	for range n {
		length := d.uvarint()
		if d.bad || length == 0 || length > maxBlock-sum {
			return errBlock
		}
		sum += length
	}
	// What the block says of itself is believed only as far as the lengths,
	// which are bounded, say the same.
	if size, err := s2.DecodedLen(d.b); err != nil || uint64(size) != sum {
		return errBlock
	}
	if uint64(cap(u.buf)) < sum {
		u.buf = make([]byte, max(sum, blockBytes))
	}
	all, err := s2.Decode(u.buf[:cap(u.buf)], d.b)
	if err != nil || uint64(len(all)) != sum {
		return errBlock
	}
	for at, left := uint64(0), lengths; at < sum; {
		length := left.uvarint()
		if all[at] != kindEvent {
			return errBlock
		}
		at += length
	}
	for len(all) > 0 {
		length := lengths.uvarint()
		if err := fn(all[:length:length]); err != nil {
			return err
		}
		all = all[length:]
	}
	return nil
}
