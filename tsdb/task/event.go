package task

// Event is one thing that a producer or worker said about an invocation, as a
// broker consumer or the HTTP endpoint understood it.
type Event struct {
	State    State // what the event says was reached; StateRequeued for a rejection with requeue
	TaskID   string
	At       int64  // as sent, microseconds
	Worker   string // node name; for StateSent the publisher, which is not kept
	TaskName string
	RootID   string
	ParentID string
	Queue    string
	Args     string
	Kwargs   string
	ETA      int64
	Expires  int64
	Retries  int32 // RetriesUnknown unless the event names its attempt

	HasRuntime       bool
	Runtime          int64 // microseconds
	Result           string
	ExceptionType    string
	ExceptionMessage string
	Traceback        string
}

// Invocation is what the event alone lets us know, limited and canonical.
func (e *Event) Invocation() Invocation {
	attempt := max(e.Retries, 0)
	v := Invocation{
		TaskID: e.TaskID, TaskName: e.TaskName, RootID: e.RootID, ParentID: e.ParentID,
		Queue: e.Queue, QueueRank: attempt, Args: e.Args, ArgsRank: attempt, Kwargs: e.Kwargs, KwargsRank: attempt,
		ETA: e.ETA, Expires: e.Expires, Retries: attempt, UpdatedAt: e.At,
		Transitions: []Transition{{At: e.At, State: e.State, Worker: e.Worker, Retries: e.Retries, ExceptionType: e.ExceptionType}},
	}
	switch e.State {
	case StateSent:
		v.SentAt = e.At
	case StateReceived:
		v.ReceivedAt = e.At
	case StateStarted:
		v.StartedAt = e.At
	}
	if e.State.outcome() {
		v.Outcome = Outcome{State: e.State, At: e.At, HasRuntime: e.HasRuntime, Runtime: e.Runtime, Result: e.Result,
			ExceptionType: e.ExceptionType, ExceptionMessage: e.ExceptionMessage, Traceback: e.Traceback}
	}
	v.Limit()
	return v
}
