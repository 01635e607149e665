package api

import (
	"context"
	"net/http"
	"strconv"

	"daybook/cmd/internal/render"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// workflow answers a chain, group or chord as a tree: its nodes in a list, each
// with its depth and the ids of its children. A list, because a chain is as
// deep as it is long, and JSON readers give up at some depth.
func (a *API) workflow(w http.ResponseWriter, r *http.Request, id string) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	var flow tsdb.Workflow
	err := a.query(r, func(ctx context.Context) (err error) {
		flow, err = a.Store.Workflow(ctx, id, tsdb.MaxWorkflow)
		return err
	})
	if err != nil {
		return err
	}
	out := a.answer(w, r, http.StatusOK)
	out.buf = appendWorkflowHead(out.buf, &flow)
	out.buf = append(out.buf, `,"nodes":[`...)
	for i := range flow.Nodes {
		if i > 0 {
			out.buf = append(out.buf, ',')
		}
		out.buf = appendNode(out.buf, &flow, &flow.Nodes[i])
		out.spill()
	}
	out.buf = strconv.AppendBool(append(out.buf, `],"truncated":`...), flow.Truncated)
	out.buf = strconv.AppendBool(append(out.buf, `,"complete":`...), flow.Complete)
	out.buf = appendCoverage(append(out.buf, `,"coverage":`...), &flow.Coverage)
	out.buf = append(out.buf, "}\n"...)
	a.finish(r, out)
	return nil
}

// appendWorkflowHead prints the summary, without the closing brace.
func appendWorkflowHead(dst []byte, f *tsdb.Workflow) []byte {
	count := func(name string, n int) {
		dst = strconv.AppendInt(append(append(append(dst, `,"`...), name...), `":`...), int64(n), 10)
	}
	dst = task.AppendJSONString(append(dst, `{"root_id":`...), f.RootID)
	dst = strconv.AppendBool(append(dst, `,"root_stored":`...), f.Nodes[0].Stored)
	count("total", f.Total)
	count("open", f.Open)
	count("given_up", f.GivenUp)
	dst = append(dst, `,"states":{`...)
	some := false
	for _, s := range task.States {
		if n := f.States[s]; n > 0 {
			if some {
				dst = append(dst, ',')
			}
			some = true
			dst = strconv.AppendInt(append(task.AppendJSONString(dst, s.String()), ':'), int64(n), 10)
		}
	}
	dst = render.AppendTime(append(dst, `},"first_at":`...), f.First)
	dst = render.AppendTime(append(dst, `,"last_at":`...), f.Last)
	dst = append(dst, `,"broke_at":[`...)
	for i, at := range f.Broken {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendBroken(dst, f, at)
	}
	return append(dst, ']')
}

// appendBroken prints where a workflow broke, and the way there.
func appendBroken(dst []byte, f *tsdb.Workflow, at int) []byte {
	n := &f.Nodes[at]
	dst = task.AppendJSONString(append(dst, `{"task_id":`...), n.TaskID)
	dst = render.AppendText(append(dst, `,"task_name":`...), n.TaskName)
	dst = task.AppendJSONString(append(dst, `,"state":`...), n.State.String())
	dst = strconv.AppendBool(append(dst, `,"given_up":`...), n.GivenUpAt != 0)
	dst = render.AppendTime(append(dst, `,"at":`...), n.RowTime())
	dst = render.AppendText(append(dst, `,"exception_type":`...), n.Outcome.ExceptionType)
	dst = render.AppendText(append(dst, `,"worker":`...), n.Worker)
	dst = appendIDs(append(dst, `,"path":`...), f, f.Path(at))
	return append(dst, '}')
}

// appendNode prints an invocation as everywhere, and its place in the tree.
func appendNode(dst []byte, f *tsdb.Workflow, n *tsdb.WorkflowNode) []byte {
	dst = task.AppendJSON(dst, &n.Invocation)
	dst = dst[:len(dst)-1] // go on inside; the task_id is always there
	if !n.Stored {
		dst = append(dst, `,"missing":true`...)
	}
	if n.Orphan != tsdb.NotOrphan {
		dst = task.AppendJSONString(append(dst, `,"orphan":`...), string(n.Orphan))
	}
	dst = strconv.AppendInt(append(dst, `,"depth":`...), int64(n.Depth), 10)
	dst = appendIDs(append(dst, `,"children":`...), f, n.Children)
	return append(dst, '}')
}

// appendIDs prints the task_ids of nodes.
func appendIDs(dst []byte, f *tsdb.Workflow, nodes []int) []byte {
	dst = append(dst, '[')
	for i, at := range nodes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = task.AppendJSONString(dst, f.Nodes[at].TaskID)
	}
	return append(dst, ']')
}
