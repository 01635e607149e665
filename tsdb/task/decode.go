package task

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// ErrNoTime is returned by ParseJSON, with an Invocation, when a line carries
// no time at all: it means something only for a task_id that is known already.
var ErrNoTime = errors.New("the line has no time of an event (eta and expires are none) and its task_id is not known")

// wireInvocation is the JSON form. RawMessage where the contract allows more
// than one type.
type wireInvocation struct {
	TaskID           string           `json:"task_id"`
	TaskName         string           `json:"task_name"`
	State            string           `json:"state"`
	SentAt           json.RawMessage  `json:"sent_at"`
	ReceivedAt       json.RawMessage  `json:"received_at"`
	StartedAt        json.RawMessage  `json:"started_at"`
	FinishedAt       json.RawMessage  `json:"finished_at"`
	UpdatedAt        json.RawMessage  `json:"updated_at"`
	RuntimeMS        *float64         `json:"runtime_ms"`
	Worker           string           `json:"worker"`
	Queue            string           `json:"queue"`
	Args             wireText         `json:"args"`
	Kwargs           wireText         `json:"kwargs"`
	Result           wireText         `json:"result"`
	ExceptionType    string           `json:"exception_type"`
	ExceptionMessage string           `json:"exception_message"`
	Traceback        string           `json:"traceback"`
	Retries          *int64           `json:"retries"`
	ETA              json.RawMessage  `json:"eta"`
	Expires          json.RawMessage  `json:"expires"`
	RootID           string           `json:"root_id"`
	ParentID         string           `json:"parent_id"`
	Transitions      []wireTransition `json:"transitions"`
	Truncated        []string         `json:"truncated"`
	GivenUp          bool             `json:"given_up"`
}

type wireTransition struct {
	State         string          `json:"state"`
	At            json.RawMessage `json:"at"`
	Worker        string          `json:"worker"`
	Retries       *int64          `json:"retries"`
	ExceptionType string          `json:"exception_type"`
}

// ParseJSON reads one (possibly partial) invocation as clients post it and
// AppendJSON prints it. Unknown fields are ignored, null means absent. The
// error says what is wrong with the line; ErrNoTime comes with a usable
// Invocation.
func ParseJSON(line []byte) (Invocation, error) {
	var p Parser
	var v Invocation
	err := p.Parse(line, &v)
	return v, err
}

// wireText is a JSON string's content, or any other value as compact text.
type wireText string

func (t *wireText) UnmarshalJSON(raw []byte) error {
	*t = wireText(jsonText(raw))
	return nil
}

// jsonError says what is wrong without the names of Go types.
func jsonError(err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		if te.Field == "" {
			return fmt.Errorf("not a JSON object but a %s", te.Value)
		}
		return fmt.Errorf("%s: a %s does not fit here", te.Field, te.Value)
	}
	return fmt.Errorf("not valid JSON: %w", err)
}

// wireTimes are the names of the times, in the order of wireInvocation.times.
var wireTimes = [...]string{"sent_at", "received_at", "started_at", "finished_at", "updated_at", "eta", "expires"}

func (w *wireInvocation) times() (at [len(wireTimes)]int64, err error) {
	for i, raw := range [len(wireTimes)]json.RawMessage{w.SentAt, w.ReceivedAt, w.StartedAt, w.FinishedAt, w.UpdatedAt, w.ETA, w.Expires} {
		if at[i], err = parseTimeValue(raw); err != nil {
			return at, fmt.Errorf("%s: %w", wireTimes[i], err)
		}
	}
	return at, nil
}

// invocation makes v what the line says. With an error other than ErrNoTime v
// is of no use.
func (w *wireInvocation) invocation(v *Invocation) error {
	*v = Invocation{TaskID: w.TaskID, TaskName: w.TaskName, Queue: w.Queue, RootID: w.RootID, ParentID: w.ParentID}
	at, err := w.times()
	if err != nil {
		return err
	}
	finished, updated := at[3], at[4]
	v.SentAt, v.ReceivedAt, v.StartedAt, v.ETA, v.Expires = at[0], at[1], at[2], at[5], at[6]
	retries, err := parseRetries(w.Retries)
	if err != nil {
		return err
	}
	v.Retries = max(retries, 0)
	v.QueueRank, v.ArgsRank, v.KwargsRank = v.Retries, v.Retries, v.Retries
	if w.RuntimeMS != nil {
		us := math.Round(*w.RuntimeMS * 1000)
		if !(us >= 0 && us <= MaxMicros) {
			return errors.New("runtime_ms: not a plausible duration")
		}
		v.Outcome.HasRuntime, v.Outcome.Runtime = true, int64(us)
	}
	v.Args, v.Kwargs, v.Outcome.Result = string(w.Args), string(w.Kwargs), string(w.Result)
	v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback = w.ExceptionType, w.ExceptionMessage, w.Traceback
	for _, name := range w.Truncated {
		for _, f := range fieldNames {
			if f.name == name {
				v.Truncated |= f.f
			}
		}
	}
	if err := w.transitions(v); err != nil {
		return err
	}
	return w.place(v, retries, finished, updated)
}

// transitions reads the steps that the line lists.
func (w *wireInvocation) transitions(v *Invocation) error {
	for i, t := range w.Transitions {
		s, err := parseTransitionState(t.State)
		if err != nil {
			return fmt.Errorf("transitions[%d]: %w", i, err)
		}
		at, err := parseTimeValue(t.At)
		if err == nil && at == 0 {
			err = errors.New("at is missing")
		}
		if err != nil {
			return fmt.Errorf("transitions[%d]: %w", i, err)
		}
		retries, err := parseRetries(t.Retries)
		if err != nil {
			return fmt.Errorf("transitions[%d]: %w", i, err)
		}
		v.Transitions = append(v.Transitions, Transition{At: at, State: s, Worker: t.Worker, Retries: retries, ExceptionType: t.ExceptionType})
	}
	return nil
}

// place works out the state and its time, and adds the transition that the
// line amounts to unless the listed ones say the same already.
func (w *wireInvocation) place(v *Invocation, retries int32, finished, updated int64) error {
	newest := max(v.SentAt, v.ReceivedAt, v.StartedAt, finished)
	var retryAt int64
	for _, t := range v.Transitions {
		newest = max(newest, t.At)
		if t.State == StateRetry {
			retryAt = max(retryAt, t.At)
		}
	}
	given := updated
	if w.GivenUp && newest != 0 {
		updated = newest // what is printed as updated_at is when it was given up
	}
	v.UpdatedAt = max(updated, newest)
	state, err := w.state(v, finished)
	if err != nil {
		return err
	}
	if w.GivenUp && !state.Finished() {
		if v.GivenUpAt = given; given == 0 {
			v.GivenUpAt = cmp.Or(newest, undated)
		}
	}
	at := w.stateAt(v, state, finished, retryAt)
	var listed Invocation
	if len(v.Transitions) > 0 {
		listed.Transitions = canonicalTransitions(append([]Transition(nil), v.Transitions...))
		listed.derive()
	}
	says := len(v.Transitions) > 0 && listed.State == state && (listed.FinishedAt == at || !state.Finished())
	if says && state == StateRetry {
		at = retryAt // of no other time would a dump tell
	}
	switch {
	case state.outcome():
		v.Outcome.State, v.Outcome.At = state, at
	case retryAt != 0: // running again: the exception shown is that of the last retry
		v.Outcome.State, v.Outcome.At = StateRetry, retryAt
	}
	switch {
	case state != StateUnknown && !says:
		v.Transitions = append(v.Transitions, Transition{At: at, State: state, Worker: w.Worker, Retries: retries, ExceptionType: w.ExceptionType})
		if state == StateSent {
			v.WorkerHint = w.Worker
		}
	case listed.Worker != w.Worker:
		v.WorkerHint = w.Worker
	}
	if v.UpdatedAt == 0 {
		return ErrNoTime // WithTime completes it
	}
	v.Limit()
	return nil
}

// stateAt is the time of the transition into state that the line states.
func (w *wireInvocation) stateAt(v *Invocation, state State, finished, retryAt int64) int64 {
	var at int64
	switch state {
	case StateSent:
		at = v.SentAt
	case StateReceived:
		at = v.ReceivedAt
	case StateStarted:
		at = v.StartedAt
	case StateRetry:
		at = max(retryAt, finished)
	default:
		at = finished
	}
	if at == 0 {
		at = v.UpdatedAt
	}
	return at
}

// state is the line's state: stated, else concluded from what is present.
// StateUnknown if the line only adds fields. SENT without a time of its own is
// what every known invocation has reached, so that it adds nothing either.
func (w *wireInvocation) state(v *Invocation, finished int64) (State, error) {
	if w.State != "" {
		s, err := ParseState(w.State)
		if s == StateSent && v.SentAt == 0 {
			s = StateUnknown
		}
		return s, err
	}
	switch {
	case finished != 0 && w.ExceptionType != "":
		return StateFailure, nil
	case finished != 0:
		return StateSuccess, nil
	case len(v.Transitions) > 0:
		return StateUnknown, nil
	case v.StartedAt != 0:
		return StateStarted, nil
	case v.ReceivedAt != 0:
		return StateReceived, nil
	case v.SentAt != 0:
		return StateSent, nil
	}
	return StateUnknown, nil
}

// undated is when a line without any time says that it was given up.
const undated = -1

// WithTime completes a line that came with ErrNoTime by the time of the newest
// event of the invocation it adds to, in microseconds.
func (v *Invocation) WithTime(updatedAt int64) {
	for i := range v.Transitions {
		v.Transitions[i].At = updatedAt
	}
	if v.Outcome.State != StateUnknown {
		v.Outcome.At = updatedAt
	}
	v.UpdatedAt = updatedAt
	if v.GivenUpAt == undated {
		v.GivenUpAt = updatedAt
	}
	v.Limit()
}

func parseRetries(n *int64) (int32, error) {
	switch {
	case n == nil:
		return RetriesUnknown, nil
	case *n < 0 || *n > math.MaxInt32:
		return 0, fmt.Errorf("retries: %d is not a number of attempts", *n)
	}
	return int32(*n), nil
}

// parseTimeValue reads a JSON number of Unix seconds or an RFC 3339 string; 0
// if absent.
func parseTimeValue(raw json.RawMessage) (int64, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	if raw[0] == '"' {
		s, err := strconv.Unquote(string(raw))
		if err != nil {
			return 0, errTime
		}
		return ParseTimestamp(s)
	}
	return ParseSeconds(string(raw))
}

// jsonText is a JSON string's content, or any other JSON value as compact text.
func jsonText(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	}
	if text, ok := CompactJSON(raw); ok {
		return text
	}
	return string(raw)
}
