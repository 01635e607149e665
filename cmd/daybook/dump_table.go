package main

import (
	"bufio"
	"strconv"

	"daybook/tsdb/task"
)

// tablePrinter prints what one looks at first.
type tablePrinter struct{ c *columns }

func newTablePrinter(w *bufio.Writer) *tablePrinter {
	return &tablePrinter{newColumns(w, "TIME", "STATE", "TASK", ">RUNTIME_MS", ">RETRIES", "WORKER", "QUEUE", "EXCEPTION", "TASK_ID")}
}

func (p *tablePrinter) print(v *task.Invocation) {
	runtime := ""
	if v.Outcome.HasRuntime {
		runtime = string(task.AppendMillis(nil, v.Outcome.Runtime))
	}
	p.c.row(clock(v.RowTime()), v.State.String(), v.TaskName, runtime, strconv.Itoa(int(v.Retries)),
		v.Worker, v.Queue, v.Outcome.ExceptionType, v.TaskID)
}

func (p *tablePrinter) end() { p.c.flush() }
