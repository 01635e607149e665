package rollup

import (
	"errors"

	"daybook/tsdb/task"
)

// errNotContained is returned when something is to be taken away that is not
// there: the two sides do not speak of the same rows.
var errNotContained = errors.New("what is to be subtracted is not contained")

// Counts are the exact counters of a Rollup.
type Counts struct {
	States  [task.StateSuccess + 1]uint64 // invocations by their latest state
	GivenUp uint64                        // of those: given up unfinished
	Retries uint64                        // attempts beyond the first
}

// Total is the number of invocations.
func (c *Counts) Total() uint64 {
	var n uint64
	for _, s := range c.States {
		n += s
	}
	return n
}

// FailureRate is failures over failures and successes; 0 without any.
func (c *Counts) FailureRate() float64 {
	failed, succeeded := c.States[task.StateFailure], c.States[task.StateSuccess]
	if failed == 0 {
		return 0
	}
	return float64(failed) / float64(failed+succeeded)
}

func (c *Counts) add(v *task.Invocation) { c.count(v.State, givenUp(v), v.Retries) }

func givenUp(v *task.Invocation) bool { return v.GivenUpAt != 0 && !v.State.Finished() }

func (c *Counts) count(state task.State, givenUp bool, retries int32) {
	if state > task.StateSuccess {
		state = task.StateUnknown
	}
	c.States[state]++
	if givenUp {
		c.GivenUp++
	}
	c.Retries += uint64(max(retries, 0))
}

func (c *Counts) merge(o *Counts) {
	for i := range c.States {
		c.States[i] += o.States[i]
	}
	c.GivenUp += o.GivenUp
	c.Retries += o.Retries
}

func (c *Counts) subtract(o *Counts) error {
	for i := range c.States {
		if c.States[i] < o.States[i] {
			return errNotContained
		}
		c.States[i] -= o.States[i]
	}
	if c.GivenUp < o.GivenUp || c.Retries < o.Retries {
		return errNotContained
	}
	c.GivenUp -= o.GivenUp
	c.Retries -= o.Retries
	return nil
}

// Rollup is what is known of the invocations of one task in one bucket. The
// zero Rollup is empty.
type Rollup struct {
	Counts
	Runtime    Sketch // of those whose runtime is known
	Wait       Sketch // of those whose wait in the queue is known
	Workers    Top    // worker groups
	Queues     Top
	Exceptions Top // types
}

// Add counts an invocation. Which task and bucket it belongs to is the
// caller's business.
func (r *Rollup) Add(v *task.Invocation) {
	r.add(v, task.WorkerGroup(v.Worker), true)
}

// AddShared is Add without copies of v's names: for those that are no parts of
// larger texts, or a rollup that lives no longer than v. group is the group of
// v's worker.
func (r *Rollup) AddShared(v *task.Invocation, group string) { r.add(v, group, false) }

// add counts an invocation; own says that names are copied.
func (r *Rollup) add(v *task.Invocation, group string, own bool) {
	r.Counts.add(v)
	if v.Outcome.HasRuntime {
		r.Runtime.Add(v.Outcome.Runtime)
	}
	if wait, ok := v.WaitMicros(); ok {
		r.Wait.Add(wait)
	}
	r.Workers.add(group, own)
	r.Queues.add(v.Queue, own)
	if v.State != task.StateSuccess {
		r.Exceptions.add(v.Outcome.ExceptionType, own)
	}
}

// addRuntime is Add without names and waits.
func (r *Rollup) addRuntime(v *task.Invocation) {
	r.Counts.add(v)
	if v.Outcome.HasRuntime {
		r.Runtime.Add(v.Outcome.Runtime)
	}
}

// Merge adds everything in o, which it does not change.
func (r *Rollup) Merge(o *Rollup) {
	r.Counts.merge(&o.Counts)
	r.Runtime.Merge(&o.Runtime)
	r.Wait.Merge(&o.Wait)
	r.Workers.Merge(&o.Workers)
	r.Queues.Merge(&o.Queues)
	r.Exceptions.Merge(&o.Exceptions)
}

// Subtract takes away o, which must be of invocations that were added to r. An
// error says that they were not; r is of no more use then.
func (r *Rollup) Subtract(o *Rollup) error {
	return errors.Join(
		r.Counts.subtract(&o.Counts),
		r.Runtime.Subtract(&o.Runtime),
		r.Wait.Subtract(&o.Wait),
		r.Workers.Subtract(&o.Workers),
		r.Queues.Subtract(&o.Queues),
		r.Exceptions.Subtract(&o.Exceptions),
	)
}

// Empty reports whether r is of no invocation.
func (r *Rollup) Empty() bool { return r.Total() == 0 }

// Equal reports whether r and o encode to the same bytes.
func (r *Rollup) Equal(o *Rollup) bool {
	return r.Counts == o.Counts && r.Runtime.equal(&o.Runtime) && r.Wait.equal(&o.Wait) &&
		r.Workers.equal(&o.Workers) && r.Queues.equal(&o.Queues) && r.Exceptions.equal(&o.Exceptions)
}

// Agrees reports whether r, a result of Subtract, may be of the invocations
// that exact was made from: it differs at most in what Subtract cannot know.
// Only tests ask: what verify compares it has computed afresh, and byte by byte.
func (r *Rollup) Agrees(exact *Rollup) bool {
	return r.Counts == exact.Counts && r.Runtime.agrees(&exact.Runtime) && r.Wait.agrees(&exact.Wait) &&
		r.Workers.agrees(&exact.Workers) && r.Queues.agrees(&exact.Queues) && r.Exceptions.agrees(&exact.Exceptions)
}

// Clone returns a copy that shares nothing that changes.
func (r *Rollup) Clone() Rollup {
	return Rollup{Counts: r.Counts, Runtime: r.Runtime.clone(), Wait: r.Wait.clone(),
		Workers: r.Workers.clone(), Queues: r.Queues.clone(), Exceptions: r.Exceptions.clone()}
}

// ByBins returns r with durations as their bins tell them: what was added and
// taken away again has left no trace. It shares its memory with r.
func (r *Rollup) ByBins() *Rollup {
	if r.Runtime.count < 2 && r.Wait.count < 2 {
		return r
	}
	c := *r
	c.Runtime.byBins()
	c.Wait.byBins()
	return &c
}

// Bytes is the memory that r takes, with its place in a map.
func (r *Rollup) Bytes() int64 { return entryBytes + r.footprint() }

// Reset empties r and keeps its memory.
func (r *Rollup) Reset() {
	r.Counts = Counts{}
	r.Runtime.reset()
	r.Wait.reset()
	r.Workers.reset()
	r.Queues.reset()
	r.Exceptions.reset()
}
