package tsdb

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"daybook/head"
	"daybook/tsdb/task"
)

// likely are the head's invocations, with their row times, in about the order that a
// query wants: new ones are in the last slots, and in the holes that cuts leave.
func likely(snap *head.Snapshot, q *Query) iter.Seq2[int64, *task.Invocation] {
	if q.Oldest {
		return snap.All()
	}
	return snap.Backward()
}

// pick returns the rows that match and come after the cursor, in order; at
// most hint of them unless hint is 0. Once it has as many, rows are looked at only if
// their times are before those of the last of them.
func pick(all iter.Seq2[int64, *task.Invocation], q *Query, hint int) []*task.Invocation {
	var out []*task.Invocation
	first, last := q.From, int64(math.MaxInt64) // row times
	if q.To != 0 {
		last = q.To - 1
	}
	if q.After != nil && q.Oldest {
		first = max(first, q.After.At)
	} else if q.After != nil {
		last = min(last, q.After.At)
	}
	for at, v := range all {
		if at < first || at > last {
			continue
		}
		if !q.matches(v) || q.After != nil && !follows(v.Key(), *q.After, q.Oldest) {
			continue
		}
		out = append(out, v)
		if hint == 0 || len(out) < 2*hint+50 {
			continue
		}
		sortRows(out, q.Oldest)
		out = out[:hint]
		if at := out[hint-1].RowTime(); q.Oldest {
			last = min(last, at)
		} else {
			first = max(first, at)
		}
	}
	sortRows(out, q.Oldest)
	if hint > 0 && len(out) > hint {
		out = out[:hint]
	}
	return out
}

// follows reports whether k comes after the cursor in the query's direction.
func follows(k, cursor task.Key, oldest bool) bool {
	c := k.Compare(cursor)
	return oldest && c > 0 || !oldest && c < 0
}

func sortRows(rows []*task.Invocation, oldest bool) {
	slices.SortFunc(rows, func(a, b *task.Invocation) int {
		c := cmp.Compare(a.RowTime(), b.RowTime())
		if c == 0 {
			c = a.Key().Compare(b.Key())
		}
		if !oldest {
			return -c
		}
		return c
	})
}
