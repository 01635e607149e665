package blocks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// parkedRows is the naive account of what is parked.
type parkedRows struct {
	t    *testing.T
	r    *rand.Rand
	p    *Parked
	rows map[string]task.Invocation
	cut  uint64
}

// name is one of ten, of which one is called as what is counted together.
func (m *parkedRows) name() string {
	if n := m.r.IntN(10); n > 0 {
		return fmt.Sprint("name", n-1)
	}
	return rollup.Other
}

func (m *parkedRows) put(fail error) {
	var invs []*task.Invocation
	for range m.r.IntN(40) {
		e := task.Event{TaskID: fmt.Sprint("p", m.r.IntN(300)), TaskName: m.name(), At: 3_600_000_000 + m.r.Int64N(6*3_600_000_000),
			State: []task.State{task.StateSent, task.StateReceived, task.StateStarted, task.StateRetry}[m.r.IntN(4)], Retries: int32(m.r.IntN(3)),
			Worker: fmt.Sprint("celery@host-", m.r.IntN(5)), Queue: fmt.Sprint("q", m.r.IntN(3)), ExceptionType: fmt.Sprint("E", m.r.IntN(3)), Args: "(1,)"}
		v := e.Invocation()
		if m.r.IntN(2) == 0 {
			v.StartedAt, v.SentAt = e.At, e.At-m.r.Int64N(1<<(1+m.r.IntN(30)))
		}
		invs = append(invs, &v)
	}
	if fail != nil {
		err := m.p.change(context.Background(), func(c *conn, s *parkedTx) error {
			for _, v := range invs {
				if _, err := m.p.putRow(context.Background(), c, s, v, nil); err != nil {
					return err
				}
			}
			return fail
		})
		if !errors.Is(err, fail) {
			m.t.Fatal(err)
		}
		return
	}
	m.cut++
	if err := m.p.Put(context.Background(), m.cut, invs); err != nil {
		m.t.Fatal(err)
	}
	for _, v := range invs {
		m.rows[v.TaskID] = *v
	}
}

func (m *parkedRows) remove() {
	var gone []string
	for _, id := range slices.Sorted(maps.Keys(m.rows)) { // the same ones in every run
		if m.r.IntN(6) == 0 {
			gone = append(gone, id)
			delete(m.rows, id)
		}
	}
	if err := m.p.Delete(context.Background(), append(gone, "never there")); err != nil {
		m.t.Fatal(err)
	}
}

// checkNames asks for what is known by name alone.
func (m *parkedRows) checkNames(elsewhere []*task.Invocation) {
	m.t.Helper()
	known := idsOf(elsewhere)
	want, got := map[string]rollup.Counts{}, map[string]rollup.Counts{}
	for _, patterns := range [][]string{{m.name()}, {"nosuch", m.name()}, {"name*"}, {"name1*", "nosuch*"}, {"("}, {"*"}, nil} {
		f := task.Filter{TaskNames: patterns}
		has := false
		for _, v := range m.rows {
			has = has || f.Match(&v)
		}
		if lacks := m.p.Lacks(m.t.Context(), patterns); lacks && has || !lacks && !has && m.p.sums.other == 0 && len(patterns) > 0 {
			m.t.Fatalf("of %q nothing is parked: %v", patterns, lacks)
		}
	}
	for id, v := range m.rows {
		if c := want[v.TaskName]; !known[id] {
			c.States[v.State]++
			c.Retries += uint64(v.Retries)
			want[v.TaskName] = c
		}
	}
	exact, err := m.p.Counted(m.t.Context(), elsewhere, func(name string, c *rollup.Counts) {
		sum := got[name]
		for i, n := range c.States {
			sum.States[i] += n
		}
		sum.Retries += c.Retries
		got[name] = sum
	})
	if err != nil || exact && !maps.Equal(got, want) || !exact && m.p.sums.limit == maxParkedBytes && m.p.sums.most == maxParkedNames {
		m.t.Fatalf("%v, want %v: exact %v, %v", got, want, exact, err)
	}
}

// all is what is parked, by name.
func (m *parkedRows) all() map[string]*rollup.Rollup {
	sums := map[string]*rollup.Rollup{}
	err := m.p.Sum(context.Background(), ParkedSum{Within: []ParkedRange{{0, task.MaxMicros}},
		Rollup: func(name string, _ int64, r *rollup.Rollup) { rollupAt(sums, name).Merge(r) },
		Row:    func(v *task.Invocation) { rollupAt(sums, v.TaskName).Add(v) }})
	if err != nil {
		m.t.Fatal(err)
	}
	return sums
}

// reopen begins anew: a summary is then what it was, if there was room.
func (m *parkedRows) reopen() {
	m.t.Helper()
	before := m.all()
	closeAll(m.t, m.p)
	limit, most := m.p.sums.limit, m.p.sums.most
	var err error
	if m.p, err = OpenParked(m.p.Path()); err != nil {
		m.t.Fatal(err)
	}
	m.p.sums.limit, m.p.sums.most = limit, most
	if limit < maxParkedBytes || most < maxParkedNames {
		return
	}
	after := m.all()
	for name, r := range before {
		if after[name] == nil || !r.Equal(after[name]) || len(before) != len(after) {
			m.t.Fatalf("%q after a restart: %+v, before %+v", name, after[name], r)
		}
	}
}

// check asks for some rows, without some that are elsewhere.
func (m *parkedRows) check() {
	m.t.Helper()
	ctx := context.Background()
	only := ""
	if m.r.IntN(3) == 0 {
		only = m.name()
	}
	elsewhere := []*task.Invocation{{TaskID: "nowhere"}}
	var within []ParkedRange
	for at, n := int64(3_600_000_000), m.r.IntN(4); n >= 0; n-- {
		from := at + m.r.Int64N(3*3_600_000_000)
		if width := []rollup.Width{rollup.Hour, rollup.Minute, 0}[m.r.IntN(3)]; width != 0 {
			from = max(at, width.Start(from)) // they are disjoint
		}
		at = from + m.r.Int64N(4*3_600_000_000)
		if m.r.IntN(2) == 0 {
			at = max(from, rollup.Minute.Start(at))
		}
		within = append(within, ParkedRange{from, at})
	}
	minutes := m.r.IntN(3) == 0
	place := func(name string, at int64) string {
		if minutes {
			name = fmt.Sprint(name, "@", rollup.Minute.Start(at))
		}
		return name
	}
	open, sums := map[string]int64{}, map[string]*rollup.Rollup{}
	for id, v := range m.rows {
		if m.r.IntN(8) == 0 {
			elsewhere = append(elsewhere, &task.Invocation{TaskID: id, TaskName: "it has another one by now"})
			continue
		}
		if only != "" && only != v.TaskName {
			continue
		}
		open[v.TaskName]++
		for _, r := range within {
			if at := v.RowTime(); at >= r.From && at < r.To {
				rollupAt(sums, place(v.TaskName, at)).Add(&v)
			}
		}
	}
	other, known, total := int64(0), int64(0), int64(0)
	for _, n := range open {
		total += n
	}
	err := m.p.Open(ctx, only, elsewhere, func(name string, n int64) {
		if name == rollup.Other {
			other += n
			return
		}
		if known += n; n > open[name] || m.p.sums.other == 0 && n != open[name] {
			m.t.Fatalf("%d of %s, want %d", n, name, open[name])
		}
	})
	if err != nil || known+other != total {
		m.t.Fatalf("%d and %d others, want %d: %v", known, other, total, err)
	}
	m.checkNames(elsewhere)
	got := map[string]*rollup.Rollup{}
	err = m.p.Sum(ctx, ParkedSum{Within: within, Name: only, Minutes: minutes, Elsewhere: elsewhere,
		Rollup: func(name string, at int64, r *rollup.Rollup) { rollupAt(got, place(name, at)).Merge(r) },
		Row:    func(v *task.Invocation) { rollupAt(got, place(v.TaskName, v.RowTime())).Add(v) }})
	if err != nil {
		m.t.Fatal(err)
	}
	for k := range got {
		if strings.HasPrefix(k, rollup.Other) { // of which names it is not known
			got, sums = flat(got), flat(sums)
			break
		}
	}
	for name, want := range sums {
		if got[name] == nil || !got[name].ByBins().Equal(want.ByBins()) {
			m.t.Fatalf("%q:\n got %+v\nwant %+v\nof %+v", name, got[name], want, within)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		m.t.Fatalf("out of nothing: %v", got)
	}
}

func flat(m map[string]*rollup.Rollup) map[string]*rollup.Rollup {
	sum := &rollup.Rollup{}
	for _, r := range m {
		sum.Merge(r)
	}
	return map[string]*rollup.Rollup{"": sum}
}

// What is counted in memory is what is in the file.
func TestParkedSums(t *testing.T) {
	t.Parallel()
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	for _, c := range []struct {
		limit int64
		most  int
	}{{maxParkedBytes, maxParkedNames}, {15_000, maxParkedNames}, {maxParkedBytes, 4}, {0, 4}} {
		t.Run(fmt.Sprint(c.limit, " bytes, names ", c.most), func(t *testing.T) {
			t.Parallel()
			p, err := CreateParked(liveDir(t), 3)
			if err != nil {
				t.Fatal(err)
			}
			p.sums.limit, p.sums.most = c.limit, c.most
			m := &parkedRows{t: t, r: rand.New(rand.NewPCG(uint64(c.limit), uint64(c.most))), p: p, rows: map[string]task.Invocation{}}
			for range rounds {
				switch m.r.IntN(12) {
				default:
					m.put(nil)
				case 0, 1, 2:
					m.remove()
				case 3:
					m.put(errors.New("the disk is full"))
				case 4:
					m.reopen()
				case 5: // all goes, and what was folded with it
					for len(m.rows) > 0 {
						m.remove()
					}
				}
				if m.r.IntN(5) > 0 {
					m.check()
				}
			}
			for len(m.rows) > 0 {
				m.remove()
			}
			m.check()
			if s := &m.p.sums; s.bytes != 0 || s.other != 0 || len(s.names)+len(s.hours) != 0 {
				t.Errorf("%+v is left of nothing", s)
			}
			closeAll(t, m.p)
		})
	}
}

// No row is read for what is asked in whole minutes of the latest hours, and for
// whole hours of all.
func TestParkedSumsReadNoRows(t *testing.T) {
	t.Parallel()
	p, err := CreateParked(liveDir(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	m := &parkedRows{t: t, r: rand.New(rand.NewPCG(3, 4)), p: p, rows: map[string]task.Invocation{}}
	for range 20 {
		m.put(nil)
		m.remove()
	}
	const hour, minute = 3_600_000_000, 60_000_000
	m.all()          // counts
	some := int64(0) // neither the first nor the last of its hour
	for _, v := range m.rows {
		if h := p.sums.hours[5*hour]; h.first < v.RowTime() && v.RowTime() < h.last {
			some = v.RowTime()
		}
	}
	for _, q := range []struct {
		from, to int64
		minutes  bool
		rows     bool
	}{
		{hour, 7 * hour, false, false},
		{2 * hour, 3 * hour, false, false},
		{4 * hour, 7 * hour, true, false},
		{4*hour + 7*minute, 6*hour - 3*minute, false, false},
		{5*hour + 7*minute, 5*hour + 50*minute, true, false},
		{some, some + 1, true, true},     // a part of a minute
		{3 * hour, 4 * hour, true, true}, // minutes of long ago
		{3 * hour, 3*hour + 30*minute, false, true},
	} {
		rows := 0
		err := p.Sum(context.Background(), ParkedSum{Within: []ParkedRange{{q.from, q.to}}, Minutes: q.minutes,
			Rollup: func(string, int64, *rollup.Rollup) {}, Row: func(*task.Invocation) { rows++ }})
		if err != nil || rows > 0 != q.rows {
			t.Errorf("%+v: %d rows were read, %v", q, rows, err)
		}
	}
	closeAll(t, p)
}

// While it is being counted it changes: what is behind the place is counted when
// it is reached, what is before it at once.
func TestParkedSumsWhileCounting(t *testing.T) {
	t.Parallel()
	p, err := CreateParked(liveDir(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	m := &parkedRows{t: t, r: rand.New(rand.NewPCG(1, 2)), p: p, rows: map[string]task.Invocation{}}
	for range 30 {
		m.put(nil)
		m.reopen()
		m.p.sums = parkedSums{limit: maxParkedBytes, most: maxParkedNames}
		// As if a page had ended somewhere.
		all := (&model{rows: m.rows}).sorted()
		if len(all) > 0 {
			upTo := all[m.r.IntN(len(all))].Key()
			var d parkedDelta
			for i := range all {
				if all[i].Key().Compare(upTo) <= 0 {
					m.p.sums.at(&d, &all[i]).in.Add(&all[i])
				}
			}
			m.p.sums.apply(&d)
			m.p.sums.upTo = &upTo
		}
		m.put(nil)
		m.remove()
		m.check()
	}
	closeAll(t, m.p)
}

// BenchmarkPark parks 20 000 invocations and takes them back, while they are
// counted and before anything is.
func BenchmarkPark(b *testing.B) {
	for _, counted := range []bool{false, true} {
		b.Run(fmt.Sprint("counted ", counted), func(b *testing.B) {
			p, err := CreateParked(b.TempDir(), 1)
			if err == nil && counted {
				err = p.Count(context.Background())
			}
			if err != nil {
				b.Fatal(err)
			}
			defer closeAll(b, p)
			var ids []string
			var invs []*task.Invocation
			for i := range 20_000 {
				e := task.Event{TaskID: fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i), TaskName: fmt.Sprintf("shop.module_%d.task_%d", i%11, i%120), State: task.StateReceived,
					At: testDay.Start() + int64(i)*1_000_000, Worker: fmt.Sprint("celery@shop-worker-", i%200), Queue: fmt.Sprint("queue-", i%6), Kwargs: strings.Repeat("x", 200)}
				v := e.Invocation()
				ids, invs = append(ids, v.TaskID), append(invs, &v)
			}
			from, cut := cpuTime(), uint64(0)
			for b.Loop() {
				cut++
				if err := p.Put(context.Background(), cut, invs); err != nil {
					b.Fatal(err)
				}
				if err := p.Delete(context.Background(), ids); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(invs))/(cpuTime()-from).Seconds(), "rows/cpu-s")
		})
	}
}

// Rows behind a damage are not counted, so that those that go are not taken out
// either: what is told is what can be read.
func TestParkedSumsOfADamagedFile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p, err := CreateParked(liveDir(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	m := &parkedRows{t: t, r: rand.New(rand.NewPCG(3, 4)), p: p, rows: map[string]task.Invocation{}}
	for len(m.rows) < 200 {
		m.put(nil)
	}
	all := (&model{rows: m.rows}).sorted()
	if err := m.p.with(ctx, func(c *conn) error {
		return c.exec("UPDATE parked SET data = x'00' WHERE id = ?", all[len(all)/2].TaskID)
	}); err != nil {
		t.Fatal(err)
	}
	closeAll(t, m.p)
	if m.p, err = OpenParked(m.p.Path()); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		want, got := map[string]int64{}, map[string]int64{}
		if err := m.p.Scan(ctx, nil, true, func(v *task.Invocation) (bool, error) {
			want[v.TaskName]++
			return true, nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := m.p.Open(ctx, "", nil, func(name string, n int64) { got[name] += n }); err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 || !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		rows, sums := int64(0), int64(0)
		for _, n := range want {
			rows += n
		}
		if err := m.p.Sum(ctx, ParkedSum{Within: []ParkedRange{{0, math.MaxInt64}},
			Rollup: func(_ string, _ int64, r *rollup.Rollup) { sums += int64(r.Total()) },
			Row:    func(*task.Invocation) { sums++ }}); err != nil || sums != rows {
			t.Errorf("%v, %d are in the sum, want %d", err, sums, rows)
		}
	}
	check()
	for _, v := range all[len(all)/2+1:] {
		if err := m.p.Delete(ctx, []string{v.TaskID}); err != nil {
			t.Fatal(err)
		}
	}
	check()
	m.put(nil)
	check()
	if m.p.Damage() == nil {
		t.Error("no damage was met")
	}
	closeAll(t, m.p)
}

// A task that is called as what is counted together is counted apart, and closes the
// table for nobody.
func TestParkedSumsOfATaskCalledOther(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p, err := CreateParked(liveDir(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, p)
	put := func(cut uint64, names ...string) {
		t.Helper()
		for i, name := range names {
			e := task.Event{TaskID: fmt.Sprint(cut, "-", i), TaskName: name, State: task.StateStarted, At: 3_600_000_000}
			v := e.Invocation()
			if err := p.Put(ctx, 10*cut+uint64(i), []*task.Invocation{&v}); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(want map[string]int64) {
		t.Helper()
		open, sums := map[string]int64{}, map[string]int64{}
		if err := p.Open(ctx, "", nil, func(name string, n int64) { open[name] += n }); err != nil || !maps.Equal(open, want) {
			t.Errorf("open: %v, want %v: %v", open, want, err)
		}
		err := p.Sum(ctx, ParkedSum{Within: []ParkedRange{{0, math.MaxInt64}}, Row: func(v *task.Invocation) { sums[v.TaskName]++ },
			Rollup: func(name string, _ int64, r *rollup.Rollup) { sums[name] += int64(r.Total()) }})
		if err != nil || !maps.Equal(sums, want) {
			t.Errorf("sums: %v, want %v: %v", sums, want, err)
		}
	}
	check(map[string]int64{})
	put(1, rollup.Other, "a", rollup.Other, "b")
	check(map[string]int64{rollup.Other: 2, "a": 1, "b": 1})
	p.sums.most = 3
	put(2, "c", "d") // beyond the bound
	put(3, rollup.Other)
	check(map[string]int64{rollup.Other: 5, "a": 1, "b": 1})
	for _, only := range []string{rollup.Other, "c"} {
		n := int64(0)
		if err := p.Open(ctx, only, nil, func(_ string, more int64) { n += more }); err != nil || n != int64(map[string]int64{rollup.Other: 3, "c": 1}[only]) {
			t.Errorf("%d of %s: %v", n, only, err)
		}
		n = 0
		err := p.Sum(ctx, ParkedSum{Within: []ParkedRange{{0, math.MaxInt64}}, Name: only, Row: func(*task.Invocation) { n++ },
			Rollup: func(_ string, _ int64, r *rollup.Rollup) { n += int64(r.Total()) }})
		if err != nil || n != int64(map[string]int64{rollup.Other: 3, "c": 1}[only]) {
			t.Errorf("%d of %s in the sum: %v", n, only, err)
		}
	}
	for _, id := range []string{"2-0", "2-1", "3-0", "1-0", "1-2"} {
		if err := p.Delete(ctx, []string{id}); err != nil {
			t.Fatal(err)
		}
	}
	check(map[string]int64{"a": 1, "b": 1})
}
