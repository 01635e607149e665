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
	// parkedMinuteHours is of how many hours, the latest, minutes are counted, too: of
	// the last hour or two a question is in minutes.
	parkedMinuteHours = 3
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
	hour        parkedCounts
	minutes     parkedCounts // of the latest hours: those that are asked for in minutes
}

// parkedCounts are rollups of what is parked, by name and the start of their hours or
// minutes; nil if there was no room, or they are not kept: the rows are to be read.
type parkedCounts struct {
	of    map[parkedPlace]*rollup.Rollup
	bytes int64
}

type parkedPlace struct {
	name string
	at   int64
}

// parkedDelta is what a transaction changes.
type parkedDelta struct {
	places map[parkedPlace]*parkedPart // by minutes where these are counted, else by hours
	lost   bool                        // a row went that cannot be understood
}

type parkedPart struct {
	in, out     rollup.Rollup
	first, last int64
}

// covers reports whether a row at a place of the order is counted.
func (s *parkedSums) covers(k task.Key) bool {
	return !s.blind && (s.done || s.upTo != nil && k.Compare(*s.upTo) <= 0)
}

func (s *parkedSums) at(d *parkedDelta, v *task.Invocation) *parkedPart {
	if d.places == nil {
		d.places = map[parkedPlace]*parkedPart{}
	}
	at := v.RowTime()
	k := parkedPlace{v.TaskName, rollup.Hour.Start(at)}
	if h := s.hours[k.at]; h == nil || h.minutes.of != nil { // nobody needs the others
		k.at = rollup.Minute.Start(at)
	}
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
		var most *parkedCounts
		for _, h := range s.hours {
			for _, c := range []*parkedCounts{&h.hour, &h.minutes} {
				if most == nil || c.bytes > most.bytes {
					most = c
				}
			}
		}
		s.letGo(most)
	}
}

// letGo leaves counts to their rows.
func (s *parkedSums) letGo(c *parkedCounts) {
	s.bytes -= c.bytes
	*c = parkedCounts{}
}

// name is the one that a name is counted under.
func (s *parkedSums) name(name string) string {
	if _, ok := s.names[name]; !ok {
		return rollup.Other
	}
	return name
}

func (s *parkedSums) add(k parkedPlace, x *parkedPart, n int64) {
	// Rows of a task that is called so are in their place of the same name, and no
	// reason to count new names together.
	if _, ok := s.names[k.name]; ok || s.other == 0 && len(s.names) < s.most || k.name == rollup.Other {
		s.names[k.name] += n
	} else {
		s.other += n
		k.name = rollup.Other
	}
	start := rollup.Hour.Start(k.at)
	h := s.hours[start]
	if h == nil {
		h = &parkedHour{first: x.first, last: x.last, hour: parkedCounts{of: map[parkedPlace]*rollup.Rollup{}}}
		s.hours[start] = h
		s.keepMinutes(start)
	}
	h.rows += n
	h.first, h.last = min(h.first, x.first), max(h.last, x.last)
	s.bytes += h.hour.add(parkedPlace{k.name, start}, &x.in) + h.minutes.add(k, &x.in)
}

// keepMinutes counts the minutes of an hour that is new if it is among the latest.
func (s *parkedSums) keepMinutes(start int64) {
	s.hours[start].minutes.of = map[parkedPlace]*rollup.Rollup{}
	kept, oldest := 0, start
	for at, h := range s.hours {
		if h.minutes.of != nil {
			kept, oldest = kept+1, min(oldest, at)
		}
	}
	if kept > parkedMinuteHours {
		s.letGo(&s.hours[oldest].minutes)
	}
}

// add counts more at a place, and returns how many bytes that takes.
func (c *parkedCounts) add(k parkedPlace, x *rollup.Rollup) (grown int64) {
	if c.of == nil {
		return 0
	}
	r := c.of[k]
	if r == nil {
		r = &rollup.Rollup{}
		c.of[k] = r
		grown = int64(len(k.name))
	} else {
		grown = -r.Bytes()
	}
	r.Merge(x)
	grown += r.Bytes()
	c.bytes += grown
	return grown
}

// take counts less at a place, and returns how many bytes that gives back; ok false
// if it cannot be, and the rows are the truth.
func (c *parkedCounts) take(k parkedPlace, x *rollup.Rollup) (grown int64, ok bool) {
	if c.of == nil {
		return 0, true
	}
	r := c.of[k]
	if r == nil {
		return 0, false
	}
	before := r.Bytes()
	if err := r.Subtract(x); err != nil {
		return 0, false
	}
	if grown = r.Bytes() - before; r.Empty() {
		delete(c.of, k)
		grown = -before - int64(len(k.name))
	}
	c.bytes += grown
	return grown, true
}

func (s *parkedSums) take(k parkedPlace, x *parkedPart, n int64) {
	if _, ok := s.names[k.name]; !ok {
		s.other -= n
		k.name = rollup.Other
	} else if s.names[k.name] -= n; s.names[k.name] == 0 {
		delete(s.names, k.name)
	}
	start := rollup.Hour.Start(k.at)
	h := s.hours[start]
	if h == nil {
		return
	}
	if h.rows -= n; h.rows == 0 {
		s.letGo(&h.hour)
		s.letGo(&h.minutes)
		delete(s.hours, start)
		return
	}
	for _, of := range [...]struct {
		counts *parkedCounts
		at     int64
	}{{&h.hour, start}, {&h.minutes, k.at}} {
		grown, ok := of.counts.take(parkedPlace{k.name, of.at}, &x.out)
		if s.bytes += grown; !ok {
			s.letGo(of.counts)
		}
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
	s.at(d, &v).out.Add(&v)
}

// comes notes that a row was put.
func (s *parkedSums) comes(d *parkedDelta, v *task.Invocation) {
	if s.covers(v.Key()) {
		s.at(d, v).in.Add(v)
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
	err = eachParked(ctx, c, p.path, func(v *task.Invocation) error {
		if !p.hidden[v.TaskID] {
			s.at(&d, v).in.Add(v)
		}
		last = v.Key()
		n++
		return nil
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

// Open calls fn with how many invocations of each task are parked, without
// those that are also elsewhere: in memory, because an event has come or because
// they are being parked. only restricts it to one name.
func (p *Parked) Open(ctx context.Context, only string, elsewhere []*task.Invocation, fn func(name string, n int64)) error {
	rows := p.changes
	if !rows {
		err := p.counted(ctx, elsewhere, func(s *parkedSums) (row func(*task.Invocation), end func()) {
			row, end = s.open(only, fn)
			rows = row == nil
			return row, end
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

// open is Open of what is counted; no row is nil: what is parked has to be read.
func (s *parkedSums) open(only string, fn func(name string, n int64)) (row func(*task.Invocation), end func()) {
	if s.blind || only != "" && s.other > 0 && s.names[only] == 0 {
		return nil, nil
	}
	gone, others := map[string]int64{}, s.other
	return func(v *task.Invocation) {
			if _, ok := s.names[v.TaskName]; ok {
				gone[v.TaskName]++
			} else {
				others--
			}
		}, func() {
			for name, n := range s.names {
				if n -= gone[name]; n > 0 && (only == "" || name == only) {
					fn(name, n)
				}
			}
			if others > 0 && only == "" {
				fn(rollup.Other, others)
			}
		}
}

func idsOf(invs []*task.Invocation) map[string]bool {
	ids := make(map[string]bool, len(invs))
	for _, v := range invs {
		ids[v.TaskID] = true
	}
	return ids
}
