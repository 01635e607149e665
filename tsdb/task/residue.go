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
)

// told is the set of transitions that the columns alone tell of, in room: a
// cut asks for every row.
func (v *Invocation) told(room *[4]Transition) []Transition {
	ts := room[:0]
	if v.SentAt != 0 {
		ts = append(ts, Transition{At: v.SentAt, State: StateSent, Retries: v.Retries})
	}
	if v.ReceivedAt != 0 {
		ts = append(ts, Transition{At: v.ReceivedAt, State: StateReceived, Worker: v.Worker, Retries: v.Retries})
	}
	if v.StartedAt != 0 {
		ts = append(ts, Transition{At: v.StartedAt, State: StateStarted, Worker: v.Worker, Retries: RetriesUnknown})
	}
	if v.State.Finished() {
		ts = append(ts, Transition{At: v.FinishedAt, State: v.State, Worker: v.Worker, Retries: RetriesUnknown, ExceptionType: v.Outcome.ExceptionType})
	}
	return canonicalTransitions(ts)
}

// toldOutcome is the outcome stamp that the columns alone tell of.
func (v *Invocation) toldOutcome() (State, int64) {
	if v.State.Finished() {
		return v.State, v.FinishedAt
	}
	return StateUnknown, 0
}

// Residue encodes what the columns of v do not tell; nil if nothing.
func (v *Invocation) Residue() []byte {
	var flags byte
	var room [4]Transition
	if !slices.Equal(v.Transitions, v.told(&room)) {
		flags |= residueTransitions
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
		v.Transitions = r.transitions()
	} else {
		v.Transitions = v.told(new([4]Transition))
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
	if r.bad || r.s != "" || flags >= residueOutcome<<1 || v.Outcome.State > StateRequeued {
		return fmt.Errorf("invocation %q: its residue is damaged", v.TaskID)
	}
	v.derive()
	return nil
}
