package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"daybook/tsdb/task"
)

// This file has the meaning of task.Filter in SQL; task.Filter.Match has it in
// Go, and a differential test holds the two together.

// conds is a conjunction of conditions on a row i, with their arguments.
type conds struct {
	text []string
	args []driver.Value
}

func (c *conds) add(text string, args ...driver.Value) {
	c.text = append(c.text, text)
	c.args = append(c.args, args...)
}

// idSet are ids of one dictionary, and whether the empty text, which is stored
// as NULL, belongs to them.
type idSet struct {
	ids   []int64
	empty bool
}

func (s idSet) none() bool { return len(s.ids) == 0 && !s.empty }
func (s idSet) size() int {
	if s.empty {
		return len(s.ids) + 1
	}
	return len(s.ids)
}

// in adds "column is one of the set". Sets of several ids are one argument, so
// that texts do not differ by their number.
func (c *conds) in(column string, s idSet) {
	var text string
	var args []driver.Value
	switch len(s.ids) {
	case 0:
		c.add(column + " IS NULL")
		return
	case 1:
		text, args = column+" = ?", []driver.Value{s.ids[0]}
	default:
		text, args = column+" IN (SELECT value FROM json_each(?))", []driver.Value{jsonInts(s.ids)}
	}
	if s.empty {
		text = "(" + column + " IS NULL OR " + text + ")"
	}
	c.add(text, args...)
}

func jsonInts(ids []int64) string {
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, ']'))
}

// resolved is a filter in the terms of one file.
type resolved struct {
	none   bool         // no row can match
	names  *idSet       // nil: any
	states []task.State // nil: any
	conds  conds        // all other conditions but the range of time
}

// resolver looks names up in the dictionaries of one attached file.
type resolver struct {
	c      *conn
	schema string
}

// resolve translates a filter for one file.
func (r resolver) resolve(ctx context.Context, f *task.Filter, day task.Day) (out resolved, err error) {
	out.states = wantedStates(f)
	if out.states != nil && len(out.states) == 0 {
		return resolved{none: true}, nil
	}
	if len(f.TaskNames) > 0 && !slices.Contains(f.TaskNames, "*") {
		s, err := r.names(ctx, "task_name", f.TaskNames, true)
		if err != nil || s.none() {
			return resolved{none: true}, err
		}
		out.names = &s
	}
	for _, d := range []struct {
		table, column string
		names         []string
	}{{"worker", "i.worker", f.Workers}, {"queue", "i.queue", f.Queues}, {"exception", "i.exception", one(f.ExceptionType)}} {
		if len(d.names) == 0 {
			continue
		}
		s, err := r.names(ctx, d.table, d.names, false)
		if err != nil || s.none() {
			return resolved{none: true}, err
		}
		out.conds.in(d.column, s)
	}
	if f.WorkerGroup != "" {
		ids, err := r.ids(ctx, "SELECT id FROM "+r.schema+".worker WHERE worker_group = ?", f.WorkerGroup)
		if err != nil || len(ids) == 0 {
			return resolved{none: true}, err
		}
		out.conds.in("i.worker", idSet{ids: ids})
	}
	out.conds.plain(f, day)
	return out, nil
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// plain adds the conditions that need no dictionary.
func (c *conds) plain(f *task.Filter, day task.Day) {
	if f.RootID != "" {
		// A root that is the row's own id is stored as an empty BLOB.
		c.add("(i.root = ? OR i.root = x'' AND i.task_id = ?)", bindID(f.RootID), bindID(f.RootID))
	}
	if f.HasMinRuntime {
		c.add("i.runtime >= ?", f.MinRuntime)
	}
	if f.HasMaxRuntime {
		c.add("i.runtime <= ?", f.MaxRuntime)
	}
	if f.MinRetries > 0 {
		c.add("i.retries >= ?", int64(f.MinRetries))
	}
	if f.Open || f.OpenBefore != 0 {
		c.add("i.given_up IS NULL")
	}
	if f.OpenBefore != 0 {
		c.add(fmt.Sprintf("(i.key >> %d) + ifnull(i.updated, 0) <= ?", slotBits), f.OpenBefore-day.Start())
	}
}

// wantedStates are the states that can match, nil if all can. A row with an
// exception is not a SUCCESS: that is said to find it by the index on states.
func wantedStates(f *task.Filter) []task.State {
	open := f.Open || f.OpenBefore != 0
	if len(f.States) == 0 && !open && f.ExceptionType == "" {
		return nil
	}
	out := []task.State{}
	for _, s := range task.States {
		if (len(f.States) == 0 || slices.Contains(f.States, s)) && (!open || !s.Finished()) &&
			(f.ExceptionType == "" || s != task.StateSuccess) {
			out = append(out, s)
		}
	}
	return out
}

// names resolves texts, with patterns also those that end in a *.
func (r resolver) names(ctx context.Context, table string, names []string, patterns bool) (s idSet, err error) {
	for _, name := range names {
		prefix, isPrefix := strings.CutSuffix(name, "*")
		var ids []int64
		switch {
		case patterns && isPrefix:
			ids, err = r.prefix(ctx, table, prefix)
		case name == "":
			s.empty = true
		default:
			ids, err = r.ids(ctx, "SELECT id FROM "+r.schema+"."+table+" WHERE name = ?", name)
		}
		if err != nil {
			return s, err
		}
		s.ids = append(s.ids, ids...)
	}
	slices.Sort(s.ids)
	s.ids = slices.Compact(s.ids)
	return s, nil
}

// prefix resolves a prefix that is not empty as a range of the names' index.
func (r resolver) prefix(ctx context.Context, table, prefix string) ([]int64, error) {
	text := "SELECT id FROM " + r.schema + "." + table + " WHERE name >= ?"
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return r.ids(ctx, text, prefix)
	}
	end[len(end)-1]++
	return r.ids(ctx, text+" AND name < ?", prefix, string(end))
}

func (r resolver) ids(ctx context.Context, text string, args ...driver.Value) ([]int64, error) {
	var ids []int64
	err := r.c.each(ctx, 1, func(vals []driver.Value) error {
		id, ok := vals[0].(int64)
		if !ok {
			return errRow
		}
		ids = append(ids, id)
		return nil
	}, text, args...)
	return ids, err
}
