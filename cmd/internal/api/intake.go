package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"daybook/tsdb"
)

const (
	// appendTimeout bounds one Append, which goes on when its client is gone;
	// wholeTimeout that of a request that is taken whole, so that its client knows
	// soon to send it again: it waits for its turn, for room and for the log.
	appendTimeout = 30 * time.Second
	wholeTimeout  = tsdb.OverflowWait + tsdb.LogWait
	// minStoring is what Config.Storing is at least: one request of any size
	// is always stored.
	minStoring = 1 << 20
	// A part of a request is at most so many records and bytes.
	partRecords, partBytes = 10_000, 4 << 20
)

// intake is one request that writes, on its way from lines to records.
type intake struct {
	api   *API
	ctx   context.Context
	parse recordOf
	*space
	unread int // lines that did not become a record
	res    result
	memory loans
	turn   *tsdb.Turn // taken while lines become records
}

// read turns the body's lines into records. Its error ends the request.
func (in *intake) read(b *body, arrays bool) error {
	if err := in.memory.borrow(2 * readBuffer); err != nil {
		return err
	}
	r := begin(in.body, b)
	var src source = &lineSource{r: r, long: pieceBuffer{borrow: in.memory.borrow}}
	if arrays && beginsArray(r) {
		src = &arraySource{r: r, buf: pieceBuffer{borrow: in.memory.borrow}}
	}
	for {
		piece, err := src.next()
		if err == nil {
			if err := in.take(src, piece); err != nil {
				return err
			}
			continue
		}
		var unusable pieceError // allocated only here
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &unusable):
			in.refuse(src.number(), unusable)
		case errors.Is(err, errMemory):
			return err
		default:
			return in.cutShort(in.api.bodyError(b.stall, err))
		}
	}
}

// cutShort adds to the error of a body what became of the lines before it.
func (in *intake) cutShort(err error) error {
	var e *statusError
	if !errors.As(err, &e) {
		return err
	}
	what := "nothing of it was taken"
	if in.res.accepted > 0 {
		what = fmt.Sprintf("%d lines of it were taken", in.res.accepted)
	}
	return &statusError{code: e.code, retry: e.retry, text: e.text + "; " + what}
}

// take makes a record of one piece. Its error is the store's.
func (in *intake) take(src source, piece []byte) error {
	// Made in its place: a record is half a kilobyte.
	n := len(in.recs)
	in.recs = append(in.recs, tsdb.Record{})
	ignored, err := in.parse(piece, &in.recs[n])
	if err != nil || ignored {
		in.drop(n)
	}
	switch {
	case err != nil:
		if src.unfinished() && endsEarly(piece) {
			err = fmt.Errorf("%w (the last line has no end: it seems to be cut short)", err)
		}
		in.refuse(src.number(), err)
		return nil
	case ignored:
		in.res.ignored++
		return nil
	}
	if err := in.borrowFor(n); err != nil {
		return err
	}
	in.numbers = append(in.numbers, src.number())
	return nil
}

// endsEarly reports whether a piece is the beginning of a JSON value, and no
// more than that.
func endsEarly(piece []byte) bool {
	var all json.RawMessage
	return errors.Is(json.NewDecoder(bytes.NewReader(piece)).Decode(&all), io.ErrUnexpectedEOF)
}

func (in *intake) refuse(line int, err error) {
	in.unread++
	in.res.refuse(line, err)
}

// drop takes record n, the newest, back. What is beyond the length is always
// zero: see space.
func (in *intake) drop(n int) {
	in.recs[n] = tsdb.Record{}
	in.recs = in.recs[:n]
}

// borrowFor borrows memory for record n, the newest, and if there is none and
// the store takes requests in parts, stores what has gathered before it first,
// unless that is so little that the request had better be refused whole.
func (in *intake) borrowFor(n int) error {
	bytes := in.recs[n].Size()
	err := in.memory.borrow(bytes)
	if !errors.Is(err, tsdb.ErrOverloaded) || in.api.WholeRequests || n == 0 || in.memory.borrowed < in.api.SmallRequest {
		return err
	}
	newest := in.recs[n]
	in.drop(n)
	in.turn.Rest()
	if err := in.store(); err != nil {
		return err
	}
	in.turn.Take()
	in.recs = append(in.recs, newest)
	return in.memory.borrow(bytes)
}

// store appends what has gathered and notes what became of it: in one go if
// the store takes requests whole, else in parts that each end in time. The
// memory of a part goes back just before the store counts it as its own, or a
// body could keep itself out.
func (in *intake) store() error {
	in.memory.spare = 0
	for recs, numbers := in.recs, in.numbers; len(recs) > 0; {
		n, bytes := in.part(recs)
		if n == len(recs) {
			bytes = in.memory.borrowed
		}
		if err := in.append(recs[:n], numbers[:n], bytes); err != nil {
			return err
		}
		recs, numbers = recs[n:], numbers[n:]
	}
	clear(in.recs)
	in.recs, in.numbers = in.recs[:0], in.numbers[:0]
	return nil
}

// part says how many of the records are stored next, and how large they are.
func (in *intake) part(recs []tsdb.Record) (n int, bytes int64) {
	if in.api.WholeRequests {
		return len(recs), in.memory.borrowed
	}
	for n < min(len(recs), partRecords) && bytes < partBytes {
		bytes += recs[n].Size()
		n++
	}
	return n, bytes
}

// append stores records that take so many bytes of memory. From here on the
// store counts them as its own, but not those that still wait for its room or
// its log: these are bounded here, and the rest waits with its memory borrowed.
func (in *intake) append(recs []tsdb.Record, numbers []int, bytes int64) error {
	limit := appendTimeout
	if in.api.WholeRequests {
		limit = wholeTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(in.ctx), limit)
	defer cancel()
	weight := min(max(bytes, 1), in.api.storingMax)
	if err := in.api.storing.Acquire(ctx, weight); err != nil {
		return in.api.Store.Refuse()
	}
	defer in.api.storing.Release(weight)
	in.memory.giveBack(bytes)
	done, err := in.api.Store.Append(ctx, recs)
	if err != nil {
		return fmt.Errorf("store %d invocations: %w", len(recs), err)
	}
	for _, r := range done.Refused {
		if r.Index >= 0 && r.Index < len(numbers) {
			in.res.refuse(numbers[r.Index], r.Err)
		}
	}
	in.res.dropped += done.Dropped
	in.res.accepted += max(len(recs)-len(done.Refused)-done.Dropped, 0)
	return nil
}
