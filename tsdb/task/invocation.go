package task

// Field names a field of an Invocation that has a length limit.
type Field uint16

// The bits of Invocation.Truncated: the fields that were cut to their limit.
const (
	FieldTaskName Field = 1 << iota
	FieldWorker
	FieldQueue
	FieldArgs
	FieldKwargs
	FieldResult
	FieldExceptionType
	FieldExceptionMessage
	FieldTraceback
	FieldRootID
	FieldParentID
)

// outcomeFields are the long fields that belong to Outcome.
const outcomeFields = FieldResult | FieldExceptionType | FieldExceptionMessage | FieldTraceback

// Outcome is what the end of an attempt brought: a result and a runtime, or
// an exception. It is merged as a whole, because the traceback of one failure
// under the name of another would be a wrong answer.
type Outcome struct {
	State            State // of the transition it came with; StateUnknown if none
	At               int64 // time of that transition, microseconds
	HasRuntime       bool
	Runtime          int64 // microseconds
	Result           string
	ExceptionType    string
	ExceptionMessage string
	Traceback        string
}

// Invocation is everything known about one task_id. The zero value is the
// zero of Merge.
//
// State, FinishedAt and Worker are functions of Transitions (and WorkerHint)
// and are kept up to date by Merge and Canonicalize; nobody else sets them.
type Invocation struct {
	TaskID   string // 1 to 255 bytes
	TaskName string
	RootID   string
	ParentID string

	State      State
	FinishedAt int64
	Worker     string

	SentAt     int64
	ReceivedAt int64
	StartedAt  int64
	UpdatedAt  int64 // time of the newest event
	ETA        int64
	Expires    int64
	// GivenUpAt is when an unfinished invocation was given up and cut into a
	// day; 0 for finished ones and for those still open.
	GivenUpAt int64

	Retries int32 // highest attempt announced, from 0

	// Queue, Args and Kwargs may change from attempt to attempt; the rank is
	// the attempt that stated the value, and the higher rank wins.
	Queue      string
	QueueRank  int32
	Args       string
	ArgsRank   int32
	Kwargs     string
	KwargsRank int32

	// WorkerHint is a worker named by a partial record without a state.
	WorkerHint string

	Outcome     Outcome
	Truncated   Field
	Transitions []Transition // canonical: sorted, bounded; never changed in place
}

// Open reports whether the invocation is neither finished nor given up.
func (v *Invocation) Open() bool { return !v.State.Finished() && v.GivenUpAt == 0 }

// RowTime is the time that decides the invocation's UTC day and its place in
// every listing: when it finished, else when it was given up, else its last
// event. Microseconds.
func (v *Invocation) RowTime() int64 {
	switch {
	case v.State.Finished():
		return v.FinishedAt
	case v.GivenUpAt != 0:
		return v.GivenUpAt
	}
	return v.UpdatedAt
}

// Key is the invocation's place in the order of everything.
func (v *Invocation) Key() Key {
	return Key{At: v.RowTime(), Hash: HashID(v.TaskID), ID: v.TaskID}
}

// Day is the UTC day of the row time.
func (v *Invocation) Day() Day { return DayOf(v.RowTime()) }

// Exception returns the exception that the invocation is shown with: SUCCESS
// carries none.
func (v *Invocation) Exception() (typ, message, traceback string) {
	if v.State == StateSuccess {
		return "", "", ""
	}
	return v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback
}

// WaitMicros is how long the last attempt waited in the queue: from the later
// of sent and eta, of which one will do (else from received), to started. ok is
// false when that is not known or when clocks disagree so that it would be
// negative.
func (v *Invocation) WaitMicros() (wait int64, ok bool) {
	from := max(v.SentAt, v.ETA)
	if from == 0 {
		from = v.ReceivedAt
	}
	if from == 0 || v.StartedAt == 0 || v.StartedAt < from {
		return 0, false
	}
	return v.StartedAt - from, true
}

// Size is an estimate of the bytes of memory the invocation holds.
func (v *Invocation) Size() int64 {
	n := 512 + len(v.TaskID) + len(v.TaskName) + len(v.RootID) + len(v.ParentID) + len(v.Queue) +
		len(v.Args) + len(v.Kwargs) + len(v.Worker) + len(v.WorkerHint) + len(v.Outcome.Result) +
		len(v.Outcome.ExceptionType) + len(v.Outcome.ExceptionMessage) + len(v.Outcome.Traceback)
	for i := range v.Transitions {
		n += 56 + len(v.Transitions[i].Worker) + len(v.Transitions[i].ExceptionType)
	}
	return int64(n)
}
