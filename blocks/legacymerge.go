package blocks

import "daybook/tsdb/task"

// A task can have a row in several tables: a retry is filed under its day, the
// end under another one, and a task that was delivered twice ends twice.

// legacyPlaced is a row with its row time.
type legacyPlaced struct {
	legacyRow
	at int64
}

// mergeLegacy merges the rows of one task. It returns which of them is the
// latest: its place in the order is that of the task, and what it states holds;
// the others only fill its gaps. That makes a scan by the conditions of a
// filter meet the row that stands for the task (legacyFilter), as a plain Merge
// of a name, say, would not: rows are states, not events.
func mergeLegacy(rows []legacyPlaced) (v task.Invocation, latest int) {
	if len(rows) == 1 {
		return rows[0].invocation(rows[0].at), 0
	}
	for i := range rows {
		one := rows[i].invocation(rows[i].at)
		v.Merge(&one)
	}
	for i := range rows {
		if rows[i].decides(&v) && (!rows[latest].decides(&v) || rows[i].worker > rows[latest].worker) {
			latest = i
		}
	}
	p := rows[latest]
	name := p.name
	for i := range rows {
		if !legacyKnown(name) && legacyKnown(rows[i].name) {
			name = rows[i].name
		}
	}
	v = task.Invocation{}
	for i := range rows {
		r := rows[i]
		r.name = name
		if i != latest {
			r.yieldTo(&p)
		}
		one := r.invocation(r.at)
		v.Merge(&one)
	}
	return v, latest
}

// decides reports whether a row tells of the state and the time that its task
// has in the end. Of several such the greater worker stands for the task, as in
// task.Merge.
func (r *legacyPlaced) decides(v *task.Invocation) bool {
	return r.at == v.RowTime() && r.state == v.State
}

// yieldTo leaves out of a row what the latest row of the task states.
func (r *legacyPlaced) yieldTo(latest *legacyPlaced) {
	for _, f := range []struct{ mine, theirs *string }{
		{&r.queue, &latest.queue}, {&r.args, &latest.args}, {&r.kwargs, &latest.kwargs},
	} {
		if *f.theirs != "" {
			*f.mine = ""
		}
	}
	if r.at == latest.at && r.state == latest.state { // one end, told twice
		r.exception, r.trace, r.hasRuntime = "", "", false
	}
}

// legacyKnown reports whether a task name says something: where the event that
// names the task was lost, the row says "unknown".
func legacyKnown(name string) bool { return name != "" && name != legacyUnknown }
