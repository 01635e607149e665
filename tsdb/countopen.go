package tsdb

import (
	"context"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// openOnly reports whether all that is open is asked for, by what is counted of it.
func (q *CountQuery) openOnly() bool {
	if !q.Open || q.Step != rollup.Forever || q.From != 0 || q.To != 0 || q.States != nil || q.TaskNames != nil {
		return false
	}
	plain := *q
	plain.Open = false
	return plain.rolls()
}

// countOpen is countRows of what openOnly is true of, from what is counted of the
// parked file: 290 000 that are parked take 52 ms of CPU instead of 1.9 s. It reports
// false, and has added nothing, if that is not exact.
func (db *DB) countOpen(ctx context.Context, t *countTally) (exact bool, err error) {
	parked := db.compact.Parked()
	if parked == nil {
		return false, nil
	}
	snap := db.head.Snapshot() // before the parked file, to which they go
	held := snap.Slice()
	counts := map[string]int64{}
	for _, v := range held {
		if v.Open() {
			counts[t.by(v)]++
		}
	}
	open := true
	exact, err = parked.Counted(ctx, held, func(name string, c *rollup.Counts) {
		open = open && c.GivenUp == 0
		for i, n := range c.States {
			s := task.State(i)
			if n == 0 {
				continue
			}
			open = open && s != task.StateUnknown && !s.Finished()
			counts[t.by(&task.Invocation{TaskName: name, State: s})] += int64(n)
		}
	})
	if err != nil || !exact || !open || len(counts) > maxGroups {
		return false, err
	}
	for key, n := range counts {
		t.put(0, key, n)
	}
	return true, nil
}
