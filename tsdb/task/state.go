package task

import (
	"fmt"
	"strings"
)

// State is what an invocation is known to have reached. The values are part
// of the block format and of the log: never renumber them.
type State uint8

const (
	// StateUnknown is the state of the zero Invocation.
	StateUnknown  State = 0
	StateSent     State = 1
	StateReceived State = 2
	StateStarted  State = 3
	StateRetry    State = 4
	StateRejected State = 5
	StateRevoked  State = 6
	StateFailure  State = 7
	StateSuccess  State = 8
	// StateRequeued marks a task-rejected with requeue=true. It occurs in
	// transitions only and never decides an invocation's state.
	StateRequeued State = 9
)

var stateNames = [...]string{
	StateUnknown: "", StateSent: "SENT", StateReceived: "RECEIVED", StateStarted: "STARTED",
	StateRetry: "RETRY", StateRejected: "REJECTED", StateRevoked: "REVOKED",
	StateFailure: "FAILURE", StateSuccess: "SUCCESS", StateRequeued: "REQUEUED",
}

// States lists every state an invocation can be in, in rank order.
var States = []State{StateSent, StateReceived, StateStarted, StateRetry,
	StateRejected, StateRevoked, StateFailure, StateSuccess}

// String is the upper-case name, "" for StateUnknown.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Finished reports whether s ends an invocation. Finished is absorbing: no
// unfinished state, whatever its time, reopens a finished invocation.
func (s State) Finished() bool { return s >= StateRejected && s <= StateSuccess }

// Valid reports whether s is a state an invocation can be in.
func (s State) Valid() bool { return s >= StateSent && s <= StateSuccess }

// class orders finished states before their time is looked at: an actual end
// (2) beats the word of somebody who called the task off (1).
func (s State) class() int {
	switch s {
	case StateSuccess, StateFailure:
		return 2
	case StateRevoked, StateRejected:
		return 1
	}
	return 0
}

// outcome reports whether s comes with a result or an exception.
func (s State) outcome() bool { return s.Finished() || s == StateRetry }

// ParseState reads a state's name in any case. PENDING, Celery's word for
// "nothing known", is not a state of an invocation and is refused.
func ParseState(name string) (State, error) {
	up := strings.ToUpper(strings.TrimSpace(name))
	for _, s := range States {
		if up == stateNames[s] {
			return s, nil
		}
	}
	return StateUnknown, fmt.Errorf("unknown state %q (want one of SENT, RECEIVED, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, REJECTED)", clip(name, 64))
}

// parseTransitionState is ParseState plus REQUEUED.
func parseTransitionState(name string) (State, error) {
	if strings.EqualFold(strings.TrimSpace(name), stateNames[StateRequeued]) {
		return StateRequeued, nil
	}
	return ParseState(name)
}

// clip shortens text that is quoted in an error message.
func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
