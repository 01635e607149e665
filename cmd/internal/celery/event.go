package celery

import (
	"errors"
	"fmt"
	"math"

	"daybook/tsdb/task"
)

// Kind says what an event is to Daybook.
type Kind uint8

const (
	// Ignored is a well-formed event without a meaning here: a custom one,
	// task-cancelled, or a task event that names no task.
	Ignored Kind = iota
	// Task is an event of a task's life.
	Task
	// WorkerEvent is a worker's heartbeat, hello or farewell.
	WorkerEvent
)

// Worker is what a worker says about itself.
type Worker struct {
	Type      string // worker-online, worker-heartbeat or worker-offline
	Hostname  string
	At        int64 // as sent, microseconds; 0 if that was no time
	Processed int64 // tasks started since the process began; -1 if not stated
}

// Item is what became of one event. Err is set if it was refused; Event and
// Worker are set for their kinds only.
type Item struct {
	Kind   Kind
	Err    error
	Event  task.Event
	Worker *Worker
	PID    int64 // of the process that sent it, 0 if not stated
}

// Errors that say why an event was refused; others come from tsdb/task.
var (
	ErrNotObject = errors.New("not an event: a JSON object is wanted")
	ErrType      = errors.New("type is missing or not a string")
	ErrNonFinite = errors.New("NaN and Infinity are no JSON")
)

// taskState is the state that a type of task event states, StateUnknown for
// types that Daybook does not know.
func taskState(typ []byte) task.State {
	switch string(typ) {
	case "task-sent":
		return task.StateSent
	case "task-received":
		return task.StateReceived
	case "task-started":
		return task.StateStarted
	case "task-succeeded":
		return task.StateSuccess
	case "task-failed":
		return task.StateFailure
	case "task-retried":
		return task.StateRetry
	case "task-revoked":
		return task.StateRevoked
	case "task-rejected":
		return task.StateRejected
	}
	return task.StateUnknown
}

// interpret gives the fields of one object their meaning, in a zero Item. The buffers behind f
// may be reused afterwards.
func (d *Decoder) interpret(f *fields, it *Item) {
	typ := &f[keyType]
	if typ.kind != kindString {
		it.Err = ErrType
		return
	}
	name := d.bytes(typ)
	it.PID = integer(&f[keyPID], 0)
	state := taskState(name)
	switch {
	case state != task.StateUnknown:
		d.interpretTask(f, state, it)
	case len(name) > 7 && string(name[:7]) == "worker-":
		d.interpretWorker(f, string(name), it)
	}
}

func (d *Decoder) interpretTask(f *fields, state task.State, it *Item) {
	id := &f[keyUUID]
	switch id.kind {
	case kindNone, kindNull:
		return // Ignored: somebody's own event under a known name
	case kindString:
	default:
		it.Err = errors.New("uuid is not a string")
		return
	}
	ev := &it.Event
	ev.TaskID = d.text(id)
	if ev.TaskID == "" {
		return // as without
	}
	if id.mended || !id.plain && !task.ValidJSONText(id.raw) {
		it.Err = fmt.Errorf("uuid: %w", task.ErrIDText)
		return
	}
	if err := task.CheckID(ev.TaskID); err != nil {
		it.Err = fmt.Errorf("uuid: %w", err)
		return
	}
	at, err := d.timestamp(&f[keyTimestamp])
	if err != nil {
		it.Err = err
		return
	}
	it.Kind = Task
	ev.At = at
	ev.State = state
	ev.Retries = task.RetriesUnknown
	ev.TaskName = d.shared(&f[keyName])
	ev.Args, ev.Kwargs = d.anyText(&f[keyArgs]), d.anyText(&f[keyKwargs])
	ev.ParentID = d.text(&f[keyParentID])
	ev.Queue = d.shared(&f[keyQueue])
	ev.ETA, ev.Expires = d.when(&f[keyETA]), d.when(&f[keyExpires])
	if root := &f[keyRootID]; root.kind == kindString && root.plain && string(root.raw) == ev.TaskID {
		ev.RootID = ev.TaskID
	} else {
		ev.RootID = d.text(root)
	}
	if state != task.StateSent {
		ev.Worker = d.shared(&f[keyHostname])
	}
	switch state {
	case task.StateSent:
		if ev.Queue == "" {
			ev.Queue = d.shared(&f[keyRoutingKey])
		}
		fallthrough
	case task.StateReceived:
		ev.Retries = int32(min(integer(&f[keyRetries], int64(task.RetriesUnknown)), math.MaxInt32))
	case task.StateSuccess:
		ev.Result = d.anyText(&f[keyResult])
		ev.Runtime, ev.HasRuntime = duration(&f[keyRuntime])
	case task.StateFailure, task.StateRetry:
		d.interpretException(f, ev)
	case task.StateRejected:
		if f[keyRequeue].kind == kindTrue {
			ev.State = task.StateRequeued
		}
	}
}

func (d *Decoder) interpretException(f *fields, ev *task.Event) {
	ev.Traceback = d.text(&f[keyTraceback])
	if f[keyException].kind != kindString {
		ev.ExceptionMessage = d.anyText(&f[keyException])
		return
	}
	typ, message := splitException(string(d.bytes(&f[keyException])), ev.Traceback)
	ev.ExceptionType, ev.ExceptionMessage = d.intern(typ), message
	// A worker that does not know the task says so instead of running it, and
	// nothing else will ever name it. With a traceback the exception comes from
	// inside a task that does have a name.
	if ev.TaskName == "" && ev.Traceback == "" && typ == notRegistered {
		ev.TaskName = message
	}
}

// interpretWorker never refuses: what is missing is only not known.
func (d *Decoder) interpretWorker(f *fields, typ string, it *Item) {
	w := &Worker{Type: typ, Hostname: d.shared(&f[keyHostname]), Processed: integer(&f[keyProcessed], -1)}
	if w.Hostname == "" {
		return
	}
	if at, err := d.timestamp(&f[keyTimestamp]); err == nil {
		w.At = at
	}
	it.Kind, it.Worker = WorkerEvent, w
}
