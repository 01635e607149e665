package blocks

import (
	"context"
	"database/sql/driver"
	"math"
	"strings"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

const (
	// maxParkedNames are counted apart; clients can invent names without end.
	maxParkedNames = 10_000
	// maxParkedBytes bounds the rollups of what is parked.
	maxParkedBytes = 32 << 20
)

// parkedSums counts what is parked by name, and by name and hour: a summary
// would otherwise read what may be a million rows, in 5.9 s of CPU instead of
// 30 ms (BenchmarkTasksParked). It is in memory only, in step
// with the file, and whoever has the connection has it. A new process counts the
// rows once, in pages; until that is done it covers those up to upTo.
//
// Names beyond the bound are counted together, under rollup.Other, until none
// of those is parked any more: only so is it known where a row was counted.
type parkedSums struct {
	done  bool
	blind bool // what is damaged was not counted: rows are read instead
	upTo  *task.Key
	names map[string]int64
	other int64
	hours map[int64]*parkedHour
	bytes int64
	limit int64 // on bytes
	most  int   // names
}

// parkedHour is an hour in which some parked invocation had its last event.
type parkedHour struct {
	first, last int64 // bounds of the row times, never narrowed
	rows        int64
	bytes       int64
	// names is nil if there was no room: the rows are to be read.
	names map[string]*rollup.Rollup
}

type parkedPlace struct {
	name string
	hour int64
}

// parkedDelta is what a transaction changes.
type parkedDelta struct {
	places map[parkedPlace]*parkedPart
	lost   bool // a row went that cannot be understood
}

type parkedPart struct {
	in, out     rollup.Rollup
	first, last int64
}

// covers reports whether a row at a place of the order is counted.
func (s *parkedSums) covers(k task.Key) bool {
	return !s.blind && (s.done || s.upTo != nil && k.Compare(*s.upTo) <= 0)
}

func (d *parkedDelta) at(v *task.Invocation) *parkedPart {
	if d.places == nil {
		d.places = map[parkedPlace]*parkedPart{}
	}
	at := v.RowTime()
	k := parkedPlace{v.TaskName, rollup.Hour.Start(at)}
	x := d.places[k]
	if x == nil {
		k.name = strings.Clone(k.name) // not the whole row
		x = &parkedPart{first: at, last: at}
		d.places[k] = x
	}
	x.first, x.last = min(x.first, at), max(x.last, at)
	return x
}

// apply takes a change that is in the file.
func (s *parkedSums) apply(d *parkedDelta) {
	if d.lost {
		*s = parkedSums{limit: s.limit, most: s.most}
		return
	}
	if s.hours == nil {
		s.names, s.hours = map[string]int64{}, map[int64]*parkedHour{}
	}
	for k, x := range d.places {
		if n := int64(x.in.Total()); n > 0 {
			s.add(k, x, n)
		}
	}
	for k, x := range d.places {
		if n := int64(x.out.Total()); n > 0 {
			s.take(k, x, n)
		}
	}
	for s.bytes > s.limit {
		var most *parkedHour
		for _, h := range s.hours {
			if most == nil || h.bytes > most.bytes {
				most = h
			}
		}
		s.letGo(most)
	}
}

// letGo leaves an hour to its rows.
func (s *parkedSums) letGo(h *parkedHour) {
	s.bytes -= h.bytes
	h.bytes, h.names = 0, nil
}

// name is the one that a name is counted under.
func (s *parkedSums) name(name string) string {
	if _, ok := s.names[name]; !ok {
		return rollup.Other
	}
	return name
}

func (s *parkedSums) add(k parkedPlace, x *parkedPart, n int64) {
	if _, ok := s.names[k.name]; ok || s.other == 0 && len(s.names) < s.most && k.name != rollup.Other {
		s.names[k.name] += n
	} else {
		s.other += n
		k.name = rollup.Other
	}
	h := s.hours[k.hour]
	if h == nil {
		h = &parkedHour{first: x.first, last: x.last, names: map[string]*rollup.Rollup{}}
		s.hours[k.hour] = h
	}
	h.rows += n
	h.first, h.last = min(h.first, x.first), max(h.last, x.last)
	if h.names == nil {
		return
	}
	r := h.names[k.name]
	if r == nil {
		r = &rollup.Rollup{}
		h.names[k.name] = r
		s.grown(h, int64(len(k.name)))
		s.grown(h, r.Bytes())
	}
	before := r.Bytes()
	r.Merge(&x.in)
	s.grown(h, r.Bytes()-before)
}

func (s *parkedSums) grown(h *parkedHour, n int64) {
	h.bytes += n
	s.bytes += n
}

func (s *parkedSums) take(k parkedPlace, x *parkedPart, n int64) {
	if k.name = s.name(k.name); k.name == rollup.Other {
		s.other -= n
	} else if s.names[k.name] -= n; s.names[k.name] == 0 {
		delete(s.names, k.name)
	}
	h := s.hours[k.hour]
	if h == nil {
		return
	}
	if h.rows -= n; h.rows == 0 {
		s.letGo(h)
		delete(s.hours, k.hour)
		return
	}
	if h.names == nil {
		return
	}
	r := h.names[k.name]
	if r == nil {
		s.letGo(h)
		return
	}
	before := r.Bytes()
	if err := r.Subtract(&x.out); err != nil { // it cannot be; the rows are the truth
		s.letGo(h)
		return
	}
	s.grown(h, r.Bytes()-before)
	if r.Empty() {
		delete(h.names, k.name)
		s.grown(h, -r.Bytes()-int64(len(k.name)))
	}
}

// leaves notes that a row goes which was read before.
func (s *parkedSums) leaves(d *parkedDelta, k task.Key, data driver.Value) {
	if !s.covers(k) {
		return
	}
	b, _ := data.([]byte)
	v, err := task.DecodeBinary(b)
	if err != nil {
		d.lost = true
		return
	}
	d.at(&v).out.Add(&v)
}

// comes notes that a row was put.
func (s *parkedSums) comes(d *parkedDelta, v *task.Invocation) {
	if s.covers(v.Key()) {
		d.at(v).in.Add(v)
	}
}

// Count counts the rows that have not been counted since the file was opened.
// Questions do the same; a daemon need not wait for the first one.
func (p *Parked) Count(ctx context.Context) error {
	for done := p.changes; !done; {
		err := p.with(ctx, func(c *conn) (err error) {
			done, err = p.countSome(ctx, c)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// counted is with, after everything has been counted.
func (p *Parked) counted(ctx context.Context, fn func(c *conn, s *parkedSums) error) error {
	for done := false; !done; {
		err := p.with(ctx, func(c *conn) (err error) {
			if done, err = p.countSome(ctx, c); done {
				err = fn(c, &p.sums)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// countPage is how many rows are counted at a time.
const countPage = 5000

// countSome counts one page; true if that was the last.
func (p *Parked) countSome(ctx context.Context, c *conn) (done bool, err error) {
	s := &p.sums
	if s.done {
		return true, nil
	}
	after := task.Key{At: math.MinInt64}
	if s.upTo != nil {
		after = *s.upTo
	}
	var d parkedDelta
	n, last := 0, after
	err = eachParked(ctx, c, p.path, func(v *task.Invocation) {
		if !p.hidden[v.TaskID] {
			d.at(v).in.Add(v)
		}
		last = v.Key()
		n++
	}, "WHERE (at, hash, id) > (?, ?, ?) ORDER BY at, hash, id LIMIT ?", after.At, flipHash(after.Hash), after.ID, int64(countPage))
	damaged := err != nil
	if err = p.met(err); err != nil {
		return false, err
	}
	if damaged {
		*s = parkedSums{limit: s.limit, most: s.most, done: true, blind: true}
		return true, nil
	}
	last.ID = strings.Clone(last.ID)
	s.apply(&d)
	s.upTo, s.done = &last, n < countPage
	return s.done, nil
}

// twice calls fn with the parked rows of those ids that are also elsewhere.
func (p *Parked) twice(ctx context.Context, c *conn, elsewhere []*task.Invocation, fn func(v *task.Invocation)) error {
	filter := p.filter.Load()
	for _, v := range elsewhere {
		hash := task.HashID(v.TaskID)
		if !filter.has(hash) || p.hidden[v.TaskID] {
			continue
		}
		rows, err := readParked(ctx, c, p.path, "WHERE hash = ? AND id = ?", flipHash(hash), v.TaskID)
		if err = p.met(err); err != nil {
			return err
		}
		for i := range rows {
			fn(&rows[i])
		}
	}
	return nil
}

// Open calls fn with how many invocations of each task are parked, without
// those that are also elsewhere: in memory, because an event has come or because
// they are being parked. only restricts it to one name.
func (p *Parked) Open(ctx context.Context, only string, elsewhere []*task.Invocation, fn func(name string, n int64)) error {
	rows := p.changes
	if !rows {
		err := p.counted(ctx, func(c *conn, s *parkedSums) error {
			if rows = s.blind || only != "" && s.other > 0 && s.names[only] == 0; rows {
				return nil
			}
			gone := map[string]int64{}
			err := p.twice(ctx, c, elsewhere, func(v *task.Invocation) { gone[s.name(v.TaskName)]++ })
			if err != nil {
				return err
			}
			for name, n := range s.names {
				if n -= gone[name]; n > 0 && (only == "" || name == only) {
					fn(name, n)
				}
			}
			if n := s.other - gone[rollup.Other]; n > 0 && only == "" {
				fn(rollup.Other, n)
			}
			return nil
		})
		if err != nil || !rows {
			return err
		}
	}
	known := idsOf(elsewhere)
	return p.Scan(ctx, nil, true, func(v *task.Invocation) (bool, error) {
		if !known[v.TaskID] && (only == "" || v.TaskName == only) {
			fn(v.TaskName, 1)
		}
		return true, nil
	})
}

func idsOf(invs []*task.Invocation) map[string]bool {
	ids := make(map[string]bool, len(invs))
	for _, v := range invs {
		ids[v.TaskID] = true
	}
	return ids
}

// ParkedSum asks what is parked in ranges of row time.
type ParkedSum struct {
	Within    []ParkedRange      // disjoint
	Name      string             // of one task; empty asks for all
	Minutes   bool               // hours are too coarse
	Elsewhere []*task.Invocation // not these ids: see Open
	Rollup    func(name string, at int64, r *rollup.Rollup)
	Row       func(v *task.Invocation)
}

// ParkedRange is half-open, in microseconds.
type ParkedRange struct{ From, To int64 }

// Sum calls q.Rollup with what is counted by hour, and q.Row with the rest, row
// by row: of hours of which only a part is asked for, or for which there was no
// room. What is parked or leaves meanwhile may be seen or not.
func (p *Parked) Sum(ctx context.Context, q ParkedSum) error {
	rows := q.Within
	if !p.changes && !q.Minutes {
		err := p.counted(ctx, func(c *conn, s *parkedSums) (err error) {
			rows, err = p.sumHours(ctx, c, s, &q)
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	known := idsOf(q.Elsewhere)
	for _, r := range rows {
		err := p.Scan(ctx, &task.Key{At: r.From - 1}, true, func(v *task.Invocation) (bool, error) {
			at := v.RowTime()
			if at >= r.From && at < r.To && !known[v.TaskID] && (q.Name == "" || v.TaskName == q.Name) {
				q.Row(v)
			}
			return at < r.To, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sumHours is Sum of whole hours; it returns what is left.
func (p *Parked) sumHours(ctx context.Context, c *conn, s *parkedSums, q *ParkedSum) (left []ParkedRange, err error) {
	if s.blind || q.Name != "" && s.other > 0 && s.names[q.Name] == 0 {
		return q.Within, nil
	}
	whole := map[int64]*parkedHour{}
	for start, h := range s.hours {
		for _, r := range q.Within {
			switch {
			case h.names != nil && h.first >= r.From && h.last < r.To:
				whole[start] = h
			case h.first < r.To && h.last >= r.From:
				left = append(left, ParkedRange{max(r.From, h.first), min(r.To, h.last+1)})
			}
		}
	}
	gone := map[parkedPlace]*rollup.Rollup{}
	err = p.twice(ctx, c, q.Elsewhere, func(v *task.Invocation) {
		k := parkedPlace{s.name(v.TaskName), rollup.Hour.Start(v.RowTime())}
		if whole[k.hour] != nil {
			rollupAt(gone, k).Add(v)
		}
	})
	if err != nil {
		return nil, err
	}
	rest := map[parkedPlace]*rollup.Rollup{}
	for k, x := range gone {
		h := whole[k.hour]
		if h == nil {
			continue
		}
		var r rollup.Rollup
		if known := h.names[k.name]; known != nil {
			r = known.Clone()
		}
		if r.Subtract(x) != nil { // see take
			s.letGo(h)
			left = append(left, ParkedRange{h.first, h.last + 1})
			delete(whole, k.hour)
			continue
		}
		rest[k] = &r
	}
	for start, h := range whole {
		for name, r := range h.names {
			if q.Name != "" && name != q.Name {
				continue
			}
			if x := rest[parkedPlace{name, start}]; x != nil {
				r = x
			}
			if !r.Empty() {
				q.Rollup(name, start, r.ByBins())
			}
		}
	}
	return left, nil
}
