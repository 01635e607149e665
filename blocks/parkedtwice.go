package blocks

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

const (
	// twiceBatch is how many rows are looked up at a time of what is parked and also
	// elsewhere.
	twiceBatch = 256
	// scanBatch is how many are read at a time where all are.
	scanBatch = 1000
)

// parkedID is an id with its hash.
type parkedID struct {
	hash uint64
	id   string
}

func (a parkedID) compare(b parkedID) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), strings.Compare(a.id, b.id))
}

// countedLess is a question to what is counted, without what is also elsewhere. row is
// called with each parked row of what is elsewhere, end after the last; no row is nil: the
// question needs neither.
type countedLess func(s *parkedSums) (row func(v *task.Invocation), end func())

// counted asks what is counted, after everything has been. What is parked and also
// elsewhere is read in batches, between which others get the connection: an event about a
// parked task waits for a batch at most. If rows have come or gone meanwhile, what has been
// read is not of the counts any more, and all is asked again, then in one go.
func (p *Parked) counted(ctx context.Context, elsewhere []*task.Invocation, ask countedLess) error {
	for alone := false; ; alone = true {
		if exact, err := p.askCounted(ctx, elsewhere, alone, ask); exact || err != nil {
			return err
		}
	}
}

// askCounted is one attempt; exact false: rows have come or gone.
func (p *Parked) askCounted(ctx context.Context, elsewhere []*task.Invocation, alone bool, ask countedLess) (exact bool, err error) {
	var r *bothReader
	var row func(v *task.Invocation)
	var end func()
	var changed uint64
	for done := false; ; {
		err := p.with(ctx, func(c *conn) error {
			if r == nil {
				if all, err := p.countSome(ctx, c); !all || err != nil {
					return err
				}
				changed = p.changed
				if row, end = ask(&p.sums); row == nil {
					done, exact = true, true
					return nil
				}
				r = p.both(elsewhere)
			}
			exact = p.changed == changed
			for first := true; exact && !done && (first || alone); first = false {
				var err error
				if done, err = r.batch(ctx, c, row); errors.Is(err, errParkedScan) {
					exact = false
				} else if err != nil {
					return err
				}
			}
			if exact && done {
				end()
			}
			return nil
		})
		if err != nil || r != nil && !exact || done {
			return exact, err
		}
		if r != nil && p.between != nil {
			p.between()
		}
	}
}

// bothReader reads the parked rows of ids that are also elsewhere.
type bothReader struct {
	p   *Parked
	ids []parkedID // in the order of the index that finds them
	// scan says that so many of the rows are of those ids that all are read: a row takes
	// 2 µs so, and 10 when it is looked up.
	scan bool
	at   int64 // with hash and id, the place up to which rows have been read
	hash int64
	id   string
}

// both are the ids that may be parked, of those that are elsewhere.
func (p *Parked) both(elsewhere []*task.Invocation) *bothReader {
	r := &bothReader{p: p, at: math.MinInt64}
	filter := p.filter.Load()
	for _, v := range elsewhere {
		if hash := task.HashID(v.TaskID); filter.has(hash) && !p.hidden[v.TaskID] {
			r.ids = append(r.ids, parkedID{hash, v.TaskID})
		}
	}
	slices.SortFunc(r.ids, parkedID.compare)
	r.ids = slices.Compact(r.ids)
	r.scan = 5*int64(len(r.ids)) > p.Rows() && p.Damage() == nil
	return r
}

// batch calls fn with the rows of a batch; the invocation is valid until fn returns. A row
// that is damaged is left out; done is true after the last.
func (r *bothReader) batch(ctx context.Context, c *conn, fn func(v *task.Invocation)) (done bool, err error) {
	if len(r.ids) == 0 {
		return true, nil
	}
	if r.p.batches++; r.scan {
		return r.scanBatch(ctx, c, fn)
	}
	n := min(len(r.ids), twiceBatch)
	err = r.lookUp(ctx, c, r.ids[:n], fn)
	r.ids = r.ids[n:]
	return len(r.ids) == 0, err
}

// errParkedScan says that a scan has met a damage: what is behind it has to be looked up.
var errParkedScan = errors.New("a damage ends the scan")

// scanBatch calls fn with those of the next rows of the file that are of the ids.
func (r *bothReader) scanBatch(ctx context.Context, c *conn, fn func(v *task.Invocation)) (done bool, err error) {
	rows := 0
	err = eachParked(ctx, c, r.p.path, func(v *task.Invocation) error {
		k := parkedID{task.HashID(v.TaskID), v.TaskID}
		r.at, r.hash, r.id = v.RowTime(), flipHash(k.hash), k.id
		rows++
		if _, ok := slices.BinarySearchFunc(r.ids, k, parkedID.compare); ok {
			fn(v)
		}
		return nil
	}, "WHERE (at, hash, id) > (?, ?, ?) ORDER BY at, hash, id LIMIT ?", r.at, r.hash, r.id, int64(scanBatch))
	damaged := err != nil
	if err = r.p.met(err); err == nil && damaged {
		err = errParkedScan
	}
	return rows < scanBatch, err
}

// lookUp calls fn with the rows of a batch of ids. Behind a damage each is asked for by itself.
func (r *bothReader) lookUp(ctx context.Context, c *conn, ids []parkedID, fn func(v *task.Invocation)) error {
	var given [twiceBatch]bool
	hashes := make([]int64, len(ids))
	for i, k := range ids {
		hashes[i] = flipHash(k.hash)
	}
	err := eachParked(ctx, c, r.p.path, func(v *task.Invocation) error {
		if i, ok := slices.BinarySearchFunc(ids, parkedID{task.HashID(v.TaskID), v.TaskID}, parkedID.compare); ok {
			given[i] = true
			fn(v)
		}
		return nil
	}, "WHERE hash IN (SELECT value FROM json_each(?))", jsonInts(hashes))
	damaged := err != nil
	if err = r.p.met(err); err != nil || !damaged {
		return err
	}
	for i, k := range ids { // the rows behind the damage
		if given[i] {
			continue
		}
		err := eachParked(ctx, c, r.p.path, func(v *task.Invocation) error {
			fn(v)
			return nil
		}, "WHERE hash = ? AND id = ?", flipHash(k.hash), k.id)
		if err = r.p.met(err); err != nil {
			return err
		}
	}
	return nil
}
