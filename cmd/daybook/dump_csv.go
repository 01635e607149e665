package main

import (
	"bufio"
	"encoding/csv"
	"strconv"
	"strings"

	"daybook/tsdb/task"
)

// csvColumns are the fields in the order of the contract, and given_up.
var csvColumns = []string{
	"task_id", "task_name", "state", "sent_at", "received_at", "started_at", "finished_at", "updated_at",
	"runtime_ms", "worker", "worker_group", "queue", "args", "kwargs", "result",
	"exception_type", "exception_message", "traceback", "retries", "eta", "expires", "root_id", "parent_id",
	"transitions", "truncated", "given_up",
}

// csvPrinter prints what ndjson prints, in columns: what is left out there is
// empty here, transitions are JSON, truncated is a list with commas.
type csvPrinter struct{ w *csv.Writer }

func newCSVPrinter(w *bufio.Writer) *csvPrinter {
	p := &csvPrinter{w: csv.NewWriter(w)}
	p.w.Write(csvColumns) // w keeps the error
	return p
}

func (p *csvPrinter) print(v *task.Invocation) {
	runtime, retries, givenUp := "", "", ""
	if v.Outcome.HasRuntime {
		runtime = string(task.AppendMillis(nil, v.Outcome.Runtime))
	}
	if v.Retries > 0 {
		retries = strconv.Itoa(int(v.Retries))
	}
	if v.GivenUpAt != 0 {
		givenUp = "true"
	}
	p.w.Write([]string{ // w keeps the error
		v.TaskID, v.TaskName, v.State.String(), csvTime(v.SentAt), csvTime(v.ReceivedAt), csvTime(v.StartedAt),
		csvTime(v.FinishedAt), csvTime(max(v.UpdatedAt, v.GivenUpAt)),
		runtime, v.Worker, task.WorkerGroup(v.Worker), v.Queue, v.Args, v.Kwargs, v.Outcome.Result,
		v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback, retries, csvTime(v.ETA), csvTime(v.Expires),
		v.RootID, v.ParentID, transitionsJSON(v), strings.Join(v.Truncated.Names(), ","), givenUp,
	})
	p.w.Flush() // into the buffer below
}

func (p *csvPrinter) end() { p.w.Flush() }

func csvTime(us int64) string {
	if us == 0 {
		return ""
	}
	return string(task.AppendSeconds(nil, us))
}

// transitionsJSON is what ndjson prints as transitions.
func transitionsJSON(v *task.Invocation) string {
	if len(v.Transitions) == 0 {
		return ""
	}
	only := task.AppendJSON(nil, &task.Invocation{Transitions: v.Transitions})
	return strings.TrimSuffix(strings.TrimPrefix(string(only), `{"transitions":`), "}")
}
