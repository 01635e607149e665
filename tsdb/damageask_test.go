package tsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"daybook/tsdb/task"
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
	ids, most := 70, 4
	if len(truth) > 500 { // a legacy file
		ids, most = 20, 1
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
	_, cover, err := db.Tasks(ctx, 0, noon.Add(48*time.Hour).UnixMicro(), "")
	if err != nil {
		t.Errorf("the sum of all: %v", err)
	}
	a.unreadable = append(a.unreadable, cover.Unreadable...)
	for d, want := range days {
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
	}
	return a
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
