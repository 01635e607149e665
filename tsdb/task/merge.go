package task

import "cmp"

// Merge returns everything that a and b know. It is associative, commutative
// and idempotent, the zero Invocation is its zero, and it changes neither
// argument. Both must be canonical (see Canonicalize) and about one task_id.
//
// The winners, field by field:
//
//	transitions                  the bounded union (transition.go)
//	state, finished_at, worker   functions of the transitions (decide)
//	task_name, root_id, parent_id  the greater text; they do not change in a task's life
//	sent_at, received_at, started_at, updated_at, eta, expires  the latest
//	retries                      the highest
//	queue, args, kwargs          of the highest attempt that stated one, then the greater text
//	result, runtime, exception   as one group, of the outcome that decides:
//	                             finished before RETRY, SUCCESS and FAILURE before
//	                             REVOKED and REJECTED, then the latest
func Merge(a, b Invocation) Invocation {
	a.Merge(&b)
	return a
}

// Merge is Merge in place: v becomes Merge(v, o).
func (v *Invocation) Merge(o *Invocation) {
	var t Field
	v.TaskID = max(v.TaskID, o.TaskID)
	v.TaskName = v.greater(o, v.TaskName, o.TaskName, FieldTaskName, &t)
	v.RootID = v.greater(o, v.RootID, o.RootID, FieldRootID, &t)
	v.ParentID = v.greater(o, v.ParentID, o.ParentID, FieldParentID, &t)
	v.WorkerHint = v.greater(o, v.WorkerHint, o.WorkerHint, FieldWorker, &t)
	v.Queue, v.QueueRank = v.ranked(o, v.Queue, v.QueueRank, o.Queue, o.QueueRank, FieldQueue, &t)
	v.Args, v.ArgsRank = v.ranked(o, v.Args, v.ArgsRank, o.Args, o.ArgsRank, FieldArgs, &t)
	v.Kwargs, v.KwargsRank = v.ranked(o, v.Kwargs, v.KwargsRank, o.Kwargs, o.KwargsRank, FieldKwargs, &t)
	v.mergeOutcome(o, &t)
	v.Truncated = t

	v.SentAt = max(v.SentAt, o.SentAt)
	v.ReceivedAt = max(v.ReceivedAt, o.ReceivedAt)
	v.StartedAt = max(v.StartedAt, o.StartedAt)
	v.UpdatedAt = max(v.UpdatedAt, o.UpdatedAt)
	v.ETA = max(v.ETA, o.ETA)
	v.Expires = max(v.Expires, o.Expires)
	v.GivenUpAt = max(v.GivenUpAt, o.GivenUpAt)
	v.Retries = max(v.Retries, o.Retries)
	v.Transitions = mergeTransitions(v.Transitions, o.Transitions)
	v.derive()
}

// greater picks the greater of two texts and its truncation bit.
func (v *Invocation) greater(o *Invocation, a, b string, f Field, t *Field) string {
	switch {
	case a > b:
		*t |= v.Truncated & f
		return a
	case a < b:
		*t |= o.Truncated & f
		return b
	}
	*t |= (v.Truncated | o.Truncated) & f
	return a
}

// ranked picks the text of the higher attempt. A text that was left out (empty,
// but marked as truncated) counts as stated.
func (v *Invocation) ranked(o *Invocation, a string, ra int32, b string, rb int32, f Field, t *Field) (string, int32) {
	hasA, hasB := a != "" || v.Truncated&f != 0, b != "" || o.Truncated&f != 0
	switch {
	case !hasA && !hasB:
		return "", 0
	case !hasB || hasA && ra > rb:
		*t |= v.Truncated & f
		return a, ra
	case !hasA || rb > ra:
		*t |= o.Truncated & f
		return b, rb
	}
	return v.greater(o, a, b, f, t), ra
}

// compareStamp orders outcomes as decide orders the transitions they came with.
func (x *Outcome) compareStamp(y *Outcome) int {
	if c := cmp.Compare(stampClass(x.State), stampClass(y.State)); c != 0 {
		return c
	}
	if c := cmp.Compare(x.At, y.At); c != 0 {
		return c
	}
	return cmp.Compare(x.State, y.State)
}

func stampClass(s State) int {
	if s == StateUnknown {
		return -1
	}
	return s.class()
}

func (v *Invocation) mergeOutcome(o *Invocation, t *Field) {
	x, y := &v.Outcome, &o.Outcome
	switch c := x.compareStamp(y); {
	case c > 0:
		*t |= v.Truncated & outcomeFields
		return
	case c < 0:
		*t |= o.Truncated & outcomeFields
		*x = *y
		return
	}
	x.HasRuntime = x.HasRuntime || y.HasRuntime
	x.Runtime = max(x.Runtime, y.Runtime)
	x.Result = v.greater(o, x.Result, y.Result, FieldResult, t)
	x.ExceptionType = v.greater(o, x.ExceptionType, y.ExceptionType, FieldExceptionType, t)
	x.ExceptionMessage = v.greater(o, x.ExceptionMessage, y.ExceptionMessage, FieldExceptionMessage, t)
	x.Traceback = v.greater(o, x.Traceback, y.Traceback, FieldTraceback, t)
}

// derive recomputes what is a function of the rest.
func (v *Invocation) derive() {
	d := decide(v.Transitions)
	v.State, v.FinishedAt = StateUnknown, 0
	if d >= 0 {
		v.State = v.Transitions[d].State
	} else if v.UpdatedAt != 0 || v.TaskID != "" {
		v.State = StateSent // it is known to exist, and nothing more
	}
	v.Worker = workerOf(v.Transitions, d)
	if v.Worker == "" {
		v.Worker = v.WorkerHint
	}
	if v.State.Finished() {
		v.FinishedAt = v.Transitions[d].At
		v.GivenUpAt = 0
	}
	// An event after it was given up opens it again.
	if v.GivenUpAt < v.UpdatedAt {
		v.GivenUpAt = 0
	}
}

// Canonicalize brings a freshly assembled Invocation into the form that Merge
// expects and returns: transitions sorted and bounded, the outcome at least
// what the transitions say, UpdatedAt no earlier than any other event, ranks
// of absent texts zero. It is idempotent. It owns v.Transitions.
func (v *Invocation) Canonicalize() {
	for i := range v.Transitions {
		if t := &v.Transitions[i]; !t.State.outcome() || t.State == StateSuccess {
			t.ExceptionType = ""
		}
		if t := &v.Transitions[i]; t.State == StateSent {
			t.Worker = "" // the publisher's name, not a worker's
		}
	}
	for i := range v.Transitions {
		t := &v.Transitions[i]
		v.UpdatedAt = max(v.UpdatedAt, t.At)
		if t.announces() {
			v.Retries = max(v.Retries, t.Retries)
		}
		if !t.State.outcome() {
			continue
		}
		switch from := (Outcome{State: t.State, At: t.At, ExceptionType: t.ExceptionType}); from.compareStamp(&v.Outcome) {
		case 1:
			v.Outcome = from
			v.Truncated &^= outcomeFields
		case 0:
			v.Outcome.ExceptionType = max(v.Outcome.ExceptionType, t.ExceptionType)
		}
	}
	v.Transitions = canonicalTransitions(v.Transitions)
	v.UpdatedAt = max(v.UpdatedAt, v.SentAt, v.ReceivedAt, v.StartedAt)
	if v.Outcome.State == StateSuccess {
		v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback = "", "", ""
		v.Truncated &^= FieldExceptionType | FieldExceptionMessage | FieldTraceback
	}
	if !v.Outcome.HasRuntime {
		v.Outcome.Runtime = 0
	}
	v.QueueRank = v.rankIfStated(v.Queue, v.QueueRank, FieldQueue)
	v.ArgsRank = v.rankIfStated(v.Args, v.ArgsRank, FieldArgs)
	v.KwargsRank = v.rankIfStated(v.Kwargs, v.KwargsRank, FieldKwargs)
	v.derive()
}

func (v *Invocation) rankIfStated(s string, rank int32, f Field) int32 {
	if s == "" && v.Truncated&f == 0 {
		return 0
	}
	return rank
}
