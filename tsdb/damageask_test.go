package tsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// heard is what a directory says, asked in more than one way.
type heard struct {
	rows       map[string]task.Invocation
	unreadable []string
	odd        []oddity
}

// oddity is an answer that is not that of the rows.
type oddity struct {
	day  task.Day
	text string
}

// ask walks through everything, and asks again by id, by name and for sums.
func ask(t *testing.T, db *DB, truth map[string]task.Invocation) (a heard) {
	t.Helper()
	a.rows = a.selected(t, db, Query{Limit: 1000, Details: true})
	differ := func(d task.Day, format string, args ...any) {
		a.odd = append(a.odd, oddity{d, fmt.Sprintf(format, args...)})
	}
	ctx := context.Background()
	ids, most, counted := 70, 4, 20
	if len(truth) > 500 { // a legacy file
		ids, most, counted = 20, 1, 3
	}
	asked, names, days := 0, map[string]bool{}, map[task.Day]uint64{}
	for id, v := range truth {
		days[v.Day()], names[v.TaskName] = 0, true
		if asked++; asked > ids {
			continue
		}
		got, err := db.Get(ctx, id)
		if row, ok := a.rows[id]; ok != (err == nil) || err != nil && !errors.Is(err, ErrNotFound) || ok && !sameKnowledge(got, row) {
			differ(v.Day(), "get %s: %+v, %v; the walk has %+v", id, got, err, row)
		}
	}
	for _, v := range a.rows {
		days[v.Day()]++
	}
	for i, name := range slices.Sorted(maps.Keys(names)) {
		if i == most {
			break
		}
		q := Query{Limit: 300}
		q.TaskNames = []string{name}
		named := a.selected(t, db, q)
		for id, v := range a.rows {
			if _, ok := named[id]; ok != (v.TaskName == name) {
				differ(v.Day(), "%s, a %s, is among those of %s: %v", id, v.TaskName, name, ok)
			}
		}
		for id, v := range named {
			if _, ok := a.rows[id]; !ok {
				differ(v.Day(), "%s is a %s, and not there otherwise", id, name)
			}
		}
	}
	a.search(t, db, truth, most, differ)
	_, cover, err := db.Tasks(ctx, 0, noon.Add(48*time.Hour).UnixMicro(), "")
	if err != nil {
		t.Errorf("the sum of all: %v", err)
	}
	a.unreadable = append(a.unreadable, cover.Unreadable...)
	for _, d := range slices.Sorted(maps.Keys(days)) {
		want := days[d]
		sums, cover, err := db.Tasks(ctx, d.Start(), d.End(), "")
		if err != nil {
			t.Errorf("the sums of %s: %v", d, err)
			continue
		}
		var got uint64
		for _, s := range sums {
			got += s.Total
		}
		if got != want {
			differ(d, "%d are summed of %d, %v cannot be read", got, want, cover.Unreadable)
		}
		if counted--; counted < 0 {
			continue
		}
		a.counts(t, db, d, slices.Sorted(maps.Keys(names))[:min(most, len(names))], differ)
	}
	return a
}

// differs notes an answer about a day.
type differs func(d task.Day, format string, args ...any)

// counts counts a day by state, from rollups, and by worker, from rows, and asks for
// the series of some names.
func (a *heard) counts(t *testing.T, db *DB, d task.Day, names []string, differ differs) {
	t.Helper()
	of := map[string]map[string]int64{"state": {}, "worker": {}}
	hours := map[string]map[int64]uint64{}
	for _, name := range names {
		hours[name] = map[int64]uint64{}
	}
	for _, v := range a.rows {
		if v.Day() != d {
			continue
		}
		for by, groups := range of {
			groups[CountBy[by](&v)]++
		}
		if hours[v.TaskName] != nil {
			hours[v.TaskName][rollup.Hour.Start(v.RowTime())]++
		}
	}
	for by, want := range of {
		c, err := db.Count(context.Background(), CountQuery{Filter: task.Filter{From: d.Start(), To: d.End()}, By: by})
		if err != nil {
			t.Errorf("the count of %s: %v", d, err)
			continue
		}
		a.unreadable = append(a.unreadable, c.Coverage.Unreadable...)
		got := map[string]int64{}
		for _, g := range c.Groups {
			got[g.Key] = g.Count
		}
		if !maps.Equal(got, want) {
			differ(d, "by %s are counted %v, the rows are %v", by, got, want)
		}
	}
	for _, name := range names {
		points, cover, err := db.Series(context.Background(), name, d.Start(), d.End(), rollup.Hour)
		if err != nil {
			t.Errorf("the series of %s on %s: %v", name, d, err)
			continue
		}
		a.unreadable = append(a.unreadable, cover.Unreadable...)
		for _, x := range points {
			if x.Total != hours[name][x.At] {
				differ(d, "the series of %s has %d at %d, the rows are %d", name, x.Total, x.At, hours[name][x.At])
			}
		}
	}
}

// search looks for words of some rows, and compares with the rows that have them.
func (a *heard) search(t *testing.T, db *DB, truth map[string]task.Invocation, most int, differ differs) {
	t.Helper()
	words := []string{"word3 round1"}
	ids := slices.Sorted(maps.Keys(truth))
	for i := range most {
		id := ids[i*len(ids)/most]
		words = append(words, strconv.Quote(id), strconv.Quote(truth[id].TaskName))
	}
	for _, w := range words {
		q, err := text.Parse(w)
		if err != nil {
			t.Fatalf("%s: %v", w, err)
		}
		found := a.selected(t, db, Query{Limit: 1000, Text: q})
		for id, v := range a.rows {
			if _, ok := found[id]; ok != q.Match(&v) {
				differ(v.Day(), "%s is found by %s: %v", id, w, ok)
			}
		}
		for id, v := range found {
			if _, ok := a.rows[id]; !ok {
				differ(v.Day(), "%s is found by %s, and not there otherwise", id, w)
			}
		}
	}
}

// selected is all of a query, each id once.
func (a *heard) selected(t *testing.T, db *DB, q Query) map[string]task.Invocation {
	t.Helper()
	rows := map[string]task.Invocation{}
	for {
		page, err := db.Select(context.Background(), q)
		if err != nil {
			t.Errorf("select: %v", err)
			return rows
		}
		a.unreadable = append(a.unreadable, page.Coverage.Unreadable...)
		for _, v := range page.Invocations {
			if _, twice := rows[v.TaskID]; twice {
				t.Errorf("%s is shown twice", v.TaskID)
			}
			rows[v.TaskID] = v
		}
		if page.Next == nil {
			return rows
		}
		q.After = page.Next
	}
}
