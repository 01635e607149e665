package blocks

import (
	"database/sql/driver"
	"math"
	"strconv"

	"daybook/tsdb/task"
)

// legacyUnknown is the name the old program files a task under when it has not
// seen the task being received.
const legacyUnknown = "unknown"

// Times outside of these are no times; finished_at in SQL and legacyMicros in
// Go agree on it. Seconds.
const (
	legacyFirst = 0.000001
	legacyLast  = 253402300799.0
)

// legacyRow is one row as it is stored, with its texts as bytes: a NUL in them
// does not end them, and they need not be UTF-8.
type legacyRow struct {
	table *legacyTable
	rowid int64

	id, name                 string
	state                    task.State // status; never changed
	received, started, ended int64      // microseconds; 0 if absent
	runtime                  int64
	hasRuntime               bool
	worker, queue, exception string
	args, kwargs, trace      string
}

// legacyMicros turns seconds into microseconds as the rest of Daybook does: by
// the shortest decimal that gives the number back, which is what the sender
// wrote. An event that both programs have seen has one time, to the
// microsecond. 0 if it is no time.
func legacyMicros(v driver.Value) int64 {
	var f float64
	switch n := v.(type) {
	case float64:
		f = n
	case int64:
		f = float64(n)
	}
	if !(f >= legacyFirst && f < legacyLast) {
		return 0
	}
	var buf [40]byte
	us, err := task.ParseSeconds(string(strconv.AppendFloat(buf[:0], f, 'f', -1, 64)))
	if err != nil {
		return 0
	}
	return us
}

// legacySeconds is the number to compare a column with. Rounding moves a time
// by half a microsecond at most, so that a range of seconds one microsecond
// wider has all rows of a range of microseconds; who reads them looks again.
// What is no time stays outside of every range.
func legacySeconds(us int64) float64 {
	return min(max(float64(us)/1e6, legacyFirst), math.Nextafter(legacyLast, 0))
}

// legacyTexts reads texts that come as BLOB, as text or not at all.
type legacyTexts struct{}

func (legacyTexts) text(v driver.Value) string {
	switch s := v.(type) {
	case []byte:
		return string(s)
	case string:
		return s
	}
	return ""
}

// scan reads legacyTable.core. It reports whether it is a row of the old program: with
// an id, a name and one of the three states that it writes.
func (r *legacyRow) scan(t *legacyTable, vals []driver.Value) bool {
	var v legacyTexts
	*r = legacyRow{table: t, id: v.text(vals[1]), name: v.text(vals[2])}
	r.rowid, _ = vals[0].(int64)
	r.received, r.started, r.ended = legacyMicros(vals[4]), legacyMicros(vals[5]), legacyMicros(vals[6])
	r.runtime, r.hasRuntime = legacyRuntime(vals[7])
	r.worker, r.queue, r.exception = v.text(vals[8]), v.text(vals[9]), v.text(vals[10])
	r.state = r.status(v.text(vals[3]))
	return task.CheckID(r.id) == nil && vals[2] != nil && r.state != task.StateUnknown
}

func (r *legacyRow) scanDetails(vals []driver.Value) {
	var v legacyTexts
	r.args, r.kwargs, r.trace = v.text(vals[0]), v.text(vals[1]), v.text(vals[2])
}

// legacyRuntime reads milliseconds.
func legacyRuntime(v driver.Value) (us int64, ok bool) {
	var ms float64
	switch n := v.(type) {
	case float64:
		ms = n
	case int64:
		ms = float64(n)
	default:
		return 0, false
	}
	us64 := math.Round(ms * 1000)
	if !(us64 >= 0 && us64 <= task.MaxMicros) {
		return 0, false
	}
	return int64(us64), true
}

// status is the state that the row tells of. One that has finished_at has
// finished (docs/adr/0003-merge.md), whatever overwrote its state since: then it
// is read as any record with a time of its end and no state is. It is told once,
// of the row as it is stored: rows yield their exception to others when they are
// merged.
func (r *legacyRow) status(stored string) task.State {
	switch {
	case stored == "SUCCESS":
		return task.StateSuccess
	case stored == "FAILURE":
		return task.StateFailure
	case stored != "RETRY":
		return task.StateUnknown
	case r.ended == 0:
		return task.StateRetry
	case r.exception != "":
		return task.StateFailure
	}
	return task.StateSuccess
}

// rowTime is the row time, 0 if the row has no time at all: finished, else started,
// else received, as the old program falls back. A retry that nothing followed
// was given up then; not before its last event, which host clocks can put
// later.
func (r *legacyRow) rowTime() int64 {
	switch {
	case r.ended != 0:
		return r.ended
	case r.state == task.StateRetry:
		return max(r.started, r.received)
	case r.started != 0:
		return r.started
	}
	return r.received
}

// invocation is what the row says, at its row time.
func (r *legacyRow) invocation(at int64) task.Invocation {
	state := r.state
	v := task.Invocation{
		TaskID: r.id, TaskName: r.name, ReceivedAt: r.received, StartedAt: r.started,
		Queue: r.queue, Args: r.args, Kwargs: r.kwargs,
		Outcome: task.Outcome{State: state, At: at, HasRuntime: r.hasRuntime, Runtime: r.runtime, ExceptionType: r.exception, Traceback: r.trace},
	}
	step := func(at int64, s task.State, exception string) {
		if at != 0 {
			v.Transitions = append(v.Transitions, task.Transition{At: at, State: s, Worker: r.worker, Retries: task.RetriesUnknown, ExceptionType: exception})
		}
	}
	step(r.received, task.StateReceived, "")
	step(r.started, task.StateStarted, "")
	step(at, state, r.exception)
	if state == task.StateRetry {
		v.GivenUpAt = at
	}
	v.Limit()
	return v
}
