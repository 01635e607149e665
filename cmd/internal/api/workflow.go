package api

import (
	"context"
	"net/http"
	"strconv"

	"daybook/cmd/internal/render"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// maxNesting is how many levels of a workflow are nested. A chain is as deep as
// it is long, and JSON readers give up at some depth: two levels of theirs are
// one of ours.
const maxNesting = 200

// workflow answers a chain, group or chord as a tree: the root with its
// children in it, then what hangs below nothing known, then what is deeper than
// maxNesting.
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
	t := treeWriter{out: out, flow: &flow}
	out.buf = append(out.buf, `,"tree":`...)
	t.node(0, 0)
	var orphans []int
	for i := range flow.Nodes {
		if flow.Nodes[i].Orphan != tsdb.NotOrphan {
			orphans = append(orphans, i)
		}
	}
	out.buf = append(out.buf, `,"orphans":`...)
	t.nodes(orphans, 0)
	out.buf = append(out.buf, `,"deeper":[`...)
	for n := 0; n < len(t.deeper); n++ { // it grows meanwhile
		if n > 0 {
			out.buf = append(out.buf, ',')
		}
		t.node(t.deeper[n], 0)
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

// treeWriter prints nodes with their children in them.
type treeWriter struct {
	out    *answer
	flow   *tsdb.Workflow
	deeper []int // nodes that would be nested too deep
}

// node prints an invocation as everywhere, and below it its children.
func (t *treeWriter) node(i, nesting int) {
	n := &t.flow.Nodes[i]
	dst := task.AppendJSON(t.out.buf, &n.Invocation)
	dst = dst[:len(dst)-1] // go on inside; the task_id is always there
	if !n.Stored {
		dst = append(dst, `,"missing":true`...)
	}
	if n.Orphan != tsdb.NotOrphan {
		dst = task.AppendJSONString(append(dst, `,"orphan":`...), string(n.Orphan))
	}
	dst = strconv.AppendInt(append(dst, `,"depth":`...), int64(n.Depth), 10)
	children := n.Children
	if nesting == maxNesting && len(children) > 0 {
		dst = append(dst, `,"continued":true`...)
		t.deeper = append(t.deeper, children...)
		children = nil
	}
	t.out.buf = append(dst, `,"children":`...)
	t.nodes(children, nesting+1)
	t.out.buf = append(t.out.buf, '}')
	t.out.spill()
}

func (t *treeWriter) nodes(list []int, nesting int) {
	t.out.buf = append(t.out.buf, '[')
	for n, i := range list {
		if n > 0 {
			t.out.buf = append(t.out.buf, ',')
		}
		t.node(i, nesting)
	}
	t.out.buf = append(t.out.buf, ']')
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
