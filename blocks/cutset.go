package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
)

// cutSet is an exact set of cut ids as disjoint ranges, ascending. Cut ids are
// handed out in order, so that a day has few ranges. It is never changed in
// place.
type cutSet []cutRange

// cutRange holds first <= id <= last.
type cutRange struct{ first, last uint64 }

// maxCut is the greatest cut id: they are stored in a signed column.
const maxCut = math.MaxInt64

func (s cutSet) has(cut uint64) bool {
	i, found := slices.BinarySearchFunc(s, cut, func(r cutRange, cut uint64) int {
		switch {
		case r.last < cut:
			return -1
		case r.first > cut:
			return 1
		}
		return 0
	})
	return found && i < len(s)
}

// last is the greatest id, 0 if there is none.
func (s cutSet) last() uint64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].last
}

// with returns the set with a range added, and the range it became part of.
func (s cutSet) with(r cutRange) (cutSet, cutRange) {
	out := make(cutSet, 0, len(s)+1)
	i := 0
	for ; i < len(s) && s[i].last+1 < r.first; i++ {
		out = append(out, s[i])
	}
	for ; i < len(s) && s[i].first <= r.last+1; i++ {
		r.first, r.last = min(r.first, s[i].first), max(r.last, s[i].last)
	}
	out = append(out, r)
	return append(out, s[i:]...), r
}

// union returns the ids of both sets.
func (s cutSet) union(o cutSet) cutSet {
	for _, r := range o {
		s, _ = s.with(r)
	}
	return s
}

// contains reports whether every id of o is in s.
func (s cutSet) contains(o cutSet) bool {
	return slices.Equal(s, s.union(o))
}

// checkCut refuses ids that no cut has.
func checkCut(cut uint64) error {
	if cut == 0 || cut > maxCut {
		return fmt.Errorf("%d is not a cut id", cut)
	}
	return nil
}

// storeCut writes a range that with returned, in place of those it joined.
func storeCut(c *conn, r cutRange) error {
	if err := c.exec("DELETE FROM cut WHERE first BETWEEN ? AND ?", int64(r.first), int64(r.last)); err != nil {
		return err
	}
	return c.exec("INSERT INTO cut (first, last) VALUES (?, ?)", int64(r.first), int64(r.last))
}

// loadCuts reads the table cut.
func loadCuts(ctx context.Context, c *conn, schema string) (cutSet, error) {
	var s cutSet
	err := c.each(ctx, 2, func(vals []driver.Value) error {
		first, ok1 := vals[0].(int64)
		last, ok2 := vals[1].(int64)
		if !ok1 || !ok2 || first < 1 || last < first || len(s) > 0 && uint64(first) <= s.last() {
			return errRow
		}
		s, _ = s.with(cutRange{uint64(first), uint64(last)})
		return nil
	}, "SELECT first, last FROM "+schema+".cut ORDER BY first")
	return s, err
}
