package tsdb

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"daybook/tsdb/task"
)

// MaxWorkflow is how many invocations of a workflow an answer shows at most.
const MaxWorkflow = 10_000

const (
	// maxBroken is how many places at which a workflow broke are listed.
	maxBroken = 100
	// maxPath is how many steps of the way to such a place are told: the last.
	maxPath = 100
)

// Orphan says why a node hangs below nothing.
type Orphan string

// The reasons.
const (
	NotOrphan     Orphan = ""
	OrphanMissing Orphan = "parent_missing" // its parent is not known here
	OrphanNone    Orphan = "no_parent"      // it names none, and is not the root
	OrphanCycle   Orphan = "cycle"          // it is its own ancestor
)

// WorkflowNode is one invocation of a workflow, without its details and
// transitions.
type WorkflowNode struct {
	task.Invocation
	Stored   bool // false: only the root's id is known
	Depth    int  // 0 for the root and for orphans
	Orphan   Orphan
	Children []int // indexes in Workflow.Nodes, in the order of everything

	parent int // index; -1 if there is none
}

// Broken says whether a chain ends at this node: it failed, was revoked or
// rejected, or was given up unfinished.
func (n *WorkflowNode) Broken() bool {
	return n.Stored && (n.State.Finished() && n.State != task.StateSuccess || n.GivenUpAt != 0)
}

// Workflow is a chain, group or chord as a tree.
type Workflow struct {
	RootID string
	// Nodes are in the order of a walk through the tree that visits a node
	// before its children: the root, what is below it, then each orphan.
	Nodes  []WorkflowNode
	Broken []int // indexes of the nodes at which it broke, earliest first, at most 100

	Total   int // nodes that are stored
	States  map[task.State]int
	Open    int   // neither finished nor given up
	GivenUp int   // among the unfinished
	First   int64 // the earliest time known of any node, microseconds
	Last    int64 // the latest

	Truncated bool // there are more than were asked for; those are the earliest
	Complete  bool // false if the time ran out, or Truncated
	Coverage  Coverage
}

// Path lists the way to a node from the root or orphan above it, itself
// included: at most the last 100 steps.
func (w *Workflow) Path(i int) []int {
	var path []int
	for ; i >= 0 && len(path) < maxPath; i = w.Nodes[i].parent {
		path = append(path, i)
	}
	slices.Reverse(path)
	return path
}

// Workflow answers which invocations have a root, as a tree, at most limit of
// them; a *NotFoundError if nothing is known of the root and nothing names it. If ctx
// ends it answers what it has found, not Complete. Other errors are those of Select.
func (db *DB) Workflow(ctx context.Context, rootID string, limit int) (Workflow, error) {
	w := Workflow{RootID: rootID, Complete: true}
	byID := map[string]task.Invocation{}
	// Oldest first: what gets on meanwhile moves forward, and is met again
	// rather than missed.
	q := Query{Filter: task.Filter{RootID: rootID}, Oldest: true, Limit: min(limit, 1000)}
	for {
		page, err := db.Select(ctx, q)
		switch {
		case err != nil && (ctx.Err() == nil || len(byID) == 0):
			return Workflow{}, err
		case err != nil:
			w.Complete = false
		default:
			w.Complete = page.Complete
			w.cover(&page.Coverage)
		}
		for i := range page.Invocations {
			v := page.Invocations[i]
			v.Transitions = nil
			if _, again := byID[v.TaskID]; !again && len(byID) >= limit {
				w.Truncated, w.Complete = true, false
				break
			}
			byID[v.TaskID] = v
		}
		if page.Next == nil || w.Truncated || !w.Complete {
			break
		}
		q.After = page.Next
	}
	if _, ok := byID[rootID]; !ok {
		v, err := db.Get(ctx, rootID)
		var missing *NotFoundError
		switch {
		case err == nil:
			v.Args, v.Kwargs, v.Transitions = "", "", nil
			v.Outcome.Result, v.Outcome.ExceptionMessage, v.Outcome.Traceback = "", "", ""
			byID[rootID] = v
		case !errors.As(err, &missing) && (ctx.Err() == nil || len(byID) == 0):
			return Workflow{}, err
		case missing == nil:
			w.Complete = false
		case len(byID) == 0 && !w.Complete:
			return Workflow{}, context.DeadlineExceeded
		default:
			w.cover(&missing.Coverage)
			if len(byID) == 0 {
				return Workflow{}, &NotFoundError{w.Coverage}
			}
		}
	}
	w.build(byID)
	return w, nil
}

// cover adds what one page does not cover.
func (w *Workflow) cover(c *Coverage) {
	files := append(w.Coverage.Unreadable, c.Unreadable...)
	w.Coverage = *c
	slices.Sort(files)
	w.Coverage.Unreadable = slices.Compact(files)
	w.Coverage.Complete = c.Complete && len(files) == 0
}

// build makes the tree. Every invocation is in it once, whatever the parents
// that they name.
func (w *Workflow) build(byID map[string]task.Invocation) {
	t := treeBuilder{w: w, children: map[string][]*task.Invocation{}, placed: map[string]bool{}}
	all := make([]*task.Invocation, 0, len(byID))
	for _, v := range byID {
		all = append(all, &v)
	}
	slices.SortFunc(all, func(a, b *task.Invocation) int { return a.Key().Compare(b.Key()) })
	for _, v := range all {
		if p := parentOf(v); p != "" && v.TaskID != w.RootID {
			t.children[p] = append(t.children[p], v)
		}
	}
	root, stored := byID[w.RootID]
	if !stored {
		root.TaskID = w.RootID
	}
	t.place(&root, NotOrphan)
	w.Nodes[0].Stored = stored
	for _, v := range all {
		if _, known := byID[v.ParentID]; parentOf(v) == "" {
			t.place(v, OrphanNone)
		} else if !known {
			t.place(v, OrphanMissing)
		}
	}
	for _, v := range all {
		if !t.placed[v.TaskID] {
			t.place(onCycle(byID, v), OrphanCycle)
		}
	}
	w.summarise()
}

// parentOf is the task that called v. Celery names a task that retries itself
// as the parent of the next attempt.
func parentOf(v *task.Invocation) string {
	if v.ParentID == v.TaskID {
		return ""
	}
	return v.ParentID
}

// onCycle is the earliest of the invocations on the cycle that the parents of v
// lead to.
func onCycle(byID map[string]task.Invocation, v *task.Invocation) *task.Invocation {
	seen := map[string]bool{}
	id := v.TaskID
	for ; !seen[id]; id = byID[id].ParentID {
		seen[id] = true
	}
	first := byID[id]
	for at := byID[id].ParentID; at != id; at = byID[at].ParentID {
		if v := byID[at]; v.Key().Compare(first.Key()) < 0 {
			first = v
		}
	}
	return &first
}

// treeBuilder puts nodes in the order of the walk.
type treeBuilder struct {
	w        *Workflow
	children map[string][]*task.Invocation
	placed   map[string]bool
}

// place adds v and everything below it that is not placed yet. It does not
// recurse: a chain may be as long as the limit.
func (t *treeBuilder) place(v *task.Invocation, orphan Orphan) {
	type step struct {
		v      *task.Invocation
		parent int
	}
	for stack := []step{{v, -1}}; len(stack) > 0; {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if t.placed[s.v.TaskID] {
			continue
		}
		t.placed[s.v.TaskID] = true
		n := WorkflowNode{Invocation: *s.v, Stored: true, parent: s.parent}
		at := len(t.w.Nodes)
		if s.parent >= 0 {
			above := &t.w.Nodes[s.parent]
			n.Depth = above.Depth + 1
			above.Children = append(above.Children, at)
		} else {
			n.Orphan = orphan
		}
		t.w.Nodes = append(t.w.Nodes, n)
		for _, c := range slices.Backward(t.children[s.v.TaskID]) {
			stack = append(stack, step{c, at})
		}
	}
}

// summarise counts, and finds where it broke.
func (w *Workflow) summarise() {
	w.States = map[task.State]int{}
	for i := range w.Nodes {
		n := &w.Nodes[i]
		if !n.Stored {
			continue
		}
		w.Total++
		w.States[n.State]++
		if n.Open() {
			w.Open++
		}
		if n.GivenUpAt != 0 {
			w.GivenUp++
		}
		if n.Broken() {
			w.Broken = append(w.Broken, i)
		}
		for _, at := range []int64{n.SentAt, n.ReceivedAt, n.StartedAt, n.RowTime(), n.UpdatedAt} {
			if at != 0 && (w.First == 0 || at < w.First) {
				w.First = at
			}
			w.Last = max(w.Last, at)
		}
	}
	slices.SortFunc(w.Broken, func(a, b int) int { return cmp.Compare(w.Nodes[a].RowTime(), w.Nodes[b].RowTime()) })
	w.Broken = w.Broken[:min(len(w.Broken), maxBroken)]
}
