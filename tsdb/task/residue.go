package task

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A day file stores an invocation in columns that people can read. Residue is
// what Merge needs beyond those columns: nil for the common case in which the
// transitions are just the ones the columns tell of. It is stored beside them.
const (
	residueTransitions = 1 << iota
	residueRanks
	residueHint
	residueOutcome
	residueSteps // files of version 5
)

// steps say which of the transitions that the columns can tell of there are, a
// bit each, and four bits further which of these name the attempt of the row.
type steps byte

const (
	stepSent steps = 1 << iota
	stepReceived
	stepStarted
	stepFinished
	stepAttempt // of the first, and so on
)

// tellable are the steps that the columns know the times of.
func (v *Invocation) tellable() (s steps) {
	if v.SentAt != 0 {
		s |= stepSent
	}
	if v.ReceivedAt != 0 {
		s |= stepReceived
	}
	if v.StartedAt != 0 {
		s |= stepStarted
	}
	if v.State.Finished() {
		s |= stepFinished
	}
	return s
}

// usual are the steps of what no residue tells otherwise: all that the columns
// know, with an attempt where Celery's events name one.
func (v *Invocation) usual() steps {
	s := v.tellable()
	return s | (s&(stepSent|stepReceived))*stepAttempt
}

// told is the set of transitions that steps stand for, in room: a cut asks for
// every row.
func (v *Invocation) told(s steps, room *[4]Transition) []Transition {
	ts := room[:0]
	tell := func(step steps, t Transition) {
		if s&step == 0 {
			return
		}
		if t.Retries = RetriesUnknown; s&(step*stepAttempt) != 0 {
			t.Retries = v.Retries
		}
		ts = append(ts, t)
	}
	tell(stepSent, Transition{At: v.SentAt, State: StateSent})
	tell(stepReceived, Transition{At: v.ReceivedAt, State: StateReceived, Worker: v.Worker})
	tell(stepStarted, Transition{At: v.StartedAt, State: StateStarted, Worker: v.Worker})
	tell(stepFinished, Transition{At: v.FinishedAt, State: v.State, Worker: v.Worker, ExceptionType: v.Outcome.ExceptionType})
	return canonicalTransitions(ts)
}

// toldBy are the steps that stand for the transitions of v, if any do.
func (v *Invocation) toldBy() (s steps, ok bool) {
	for i := range v.Transitions {
		var step steps
		switch t := &v.Transitions[i]; {
		case t.State == StateSent:
			step = stepSent
		case t.State == StateReceived:
			step = stepReceived
		case t.State == StateStarted:
			step = stepStarted
		case t.State == v.State && v.State.Finished():
			step = stepFinished
		default:
			return 0, false
		}
		s |= step
		if v.Transitions[i].Retries != RetriesUnknown {
			s |= step * stepAttempt
		}
	}
	var room [4]Transition
	return s, s.fit(v) && slices.Equal(v.Transitions, v.told(s, &room))
}

// fit reports whether steps are of what the columns know.
func (s steps) fit(v *Invocation) bool {
	present := s % stepAttempt
	return present&^v.tellable() == 0 && s/stepAttempt&^present == 0
}

// toldOutcome is the outcome stamp that the columns alone tell of.
func (v *Invocation) toldOutcome() (State, int64) {
	if v.State.Finished() {
		return v.State, v.FinishedAt
	}
	return StateUnknown, 0
}

// Residue encodes what the columns of v do not tell; nil if nothing. short is
// for files of format version 5: there a byte tells which of the usual
// transitions there are, where that is all. One that was stated as a whole, by
// POST /api/v1/invocations, has its last one only; in the other form, which
// repeats its time and worker, that took 33 of 173 bytes of a sealed row.
func (v *Invocation) Residue(short bool) []byte {
	var flags byte
	var room [4]Transition
	var told steps
	if !slices.Equal(v.Transitions, v.told(v.usual(), &room)) {
		flags |= residueTransitions
		if s, ok := v.toldBy(); ok && short {
			flags, told = flags&^residueTransitions|residueSteps, s
		}
	}
	stated := func(s string, f Field) int32 {
		if s == "" && v.Truncated&f == 0 {
			return 0
		}
		return v.Retries
	}
	if v.QueueRank != stated(v.Queue, FieldQueue) || v.ArgsRank != stated(v.Args, FieldArgs) || v.KwargsRank != stated(v.Kwargs, FieldKwargs) {
		flags |= residueRanks
	}
	if v.WorkerHint != "" {
		flags |= residueHint
	}
	if s, at := v.toldOutcome(); s != v.Outcome.State || at != v.Outcome.At {
		flags |= residueOutcome
	}
	if flags == 0 {
		return nil
	}
	b := []byte{flags}
	if flags&residueTransitions != 0 {
		b = appendTransitions(b, v.Transitions)
	}
	if flags&residueRanks != 0 {
		for _, n := range []int32{v.QueueRank, v.ArgsRank, v.KwargsRank} {
			b = binary.AppendVarint(b, int64(n))
		}
	}
	if flags&residueHint != 0 {
		b = append(binary.AppendUvarint(b, uint64(len(v.WorkerHint))), v.WorkerHint...)
	}
	if flags&residueOutcome != 0 {
		b = binary.AppendUvarint(append(b, byte(v.Outcome.State)), uint64(v.Outcome.At))
	}
	if flags&residueSteps != 0 {
		b = append(b, byte(told))
	}
	return b
}

// Restore completes an Invocation read from its columns (State, FinishedAt and
// Worker included) with its residue. Damage gives an error, never a panic.
func (v *Invocation) Restore(residue []byte) error {
	v.QueueRank = v.rankIfStated(v.Queue, v.Retries, FieldQueue)
	v.ArgsRank = v.rankIfStated(v.Args, v.Retries, FieldArgs)
	v.KwargsRank = v.rankIfStated(v.Kwargs, v.Retries, FieldKwargs)
	v.Outcome.State, v.Outcome.At = v.toldOutcome()
	var flags byte
	r := reader{s: string(residue)}
	if len(residue) > 0 {
		flags = r.byte()
	}
	if flags&residueTransitions != 0 {
		v.Transitions = r.transitions(nil, r.micros)
	}
	if flags&residueRanks != 0 {
		v.QueueRank, v.ArgsRank, v.KwargsRank = r.attempt(), r.attempt(), r.attempt()
	}
	if flags&residueHint != 0 {
		v.WorkerHint = r.text()
	}
	if flags&residueOutcome != 0 {
		v.Outcome.State, v.Outcome.At = State(r.byte()), r.micros()
	}
	told := v.usual()
	if flags&residueSteps != 0 {
		told = steps(r.byte())
		r.bad = r.bad || flags&residueTransitions != 0 || !told.fit(v)
	}
	if flags&residueTransitions == 0 {
		v.Transitions = v.told(told, new([4]Transition))
	}
	if r.bad || r.s != "" || flags >= residueSteps<<1 || v.Outcome.State > StateRequeued {
		return fmt.Errorf("invocation %q: its residue is damaged", v.TaskID)
	}
	v.derive()
	return nil
}
