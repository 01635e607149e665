package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// TestWorkflowOverMidnight sends what Celery sends of a chain with a group in it, and
// finds it as a tree while it is in memory, in a live file, and sealed.
func TestWorkflowOverMidnight(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), append(anyTime, "--head.settle=0s")...)
	const midnight = 1795392000 // 2026-11-23
	var events [][]byte
	event := func(kind string, n, parent int, at float64, more string) {
		parentID := "null"
		if parent >= 0 {
			parentID = fmt.Sprintf(`"c0ffee00-0000-4000-8000-%012d"`, parent)
		}
		events = append(events, fmt.Appendf(nil, `{"type":"task-%s","uuid":"c0ffee00-0000-4000-8000-%012d","root_id":"c0ffee00-0000-4000-8000-%012d","parent_id":%s,"name":"shop.step%d","hostname":"celery@w1","timestamp":%f%s}`,
			kind, n, 0, parentID, n, midnight+at, more))
	}
	step := func(n, parent int, at float64, end, more string) {
		event("received", n, parent, at, "")
		event("started", n, parent, at+0.1, "")
		event(end, n, parent, at+0.2, more)
	}
	step(0, -1, -10, "succeeded", `,"runtime":0.1,"result":"1"`)
	step(1, 0, -5, "succeeded", `,"runtime":0.1,"result":"1"`)
	step(2, 0, -0.1, "succeeded", `,"runtime":0.1,"result":"1"`) // ends after midnight
	step(3, 2, 5, "failed", `,"exception":"ValueError('no')","traceback":"…"`)
	p.mustPost("/api/v1/events", events)
	const root = "c0ffee00-0000-4000-8000-000000000000"
	check := func(where string) {
		t.Helper()
		code, body := p.get("/api/v1/workflows/" + root)
		var flow struct {
			RootStored bool           `json:"root_stored"`
			States     map[string]int `json:"states"`
			BrokeAt    []struct {
				TaskName string `json:"task_name"`
				Path     []string
			} `json:"broke_at"`
			Tree     treeNode
			Complete bool
		}
		if err := json.Unmarshal(body, &flow); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %s", where, code, body)
		}
		got := flow.Tree.String()
		if want := "shop.step0(shop.step1()shop.step2(shop.step3()))"; got != want || !flow.RootStored || !flow.Complete {
			t.Errorf("%s: %s, want %s", where, got, want)
		}
		if len(flow.BrokeAt) != 1 || flow.BrokeAt[0].TaskName != "shop.step3" || len(flow.BrokeAt[0].Path) != 3 || flow.States["SUCCESS"] != 3 {
			t.Errorf("%s: %s", where, body)
		}
	}
	check("head")
	for _, how := range []string{"", "?seal=true"} {
		if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut"+how, nil); err != nil || code != http.StatusOK {
			t.Fatalf("cut: %d %s %v", code, body, err)
		}
		check("cut" + how)
	}
	if code, _ := p.get("/api/v1/workflows/nobody"); code != http.StatusNotFound {
		t.Errorf("a root that nobody knows: %d", code)
	}
	p.quit()
}

type treeNode struct {
	TaskName string `json:"task_name"`
	Depth    int
	Children []treeNode
}

func (n treeNode) String() string {
	s := n.TaskName + "("
	for _, c := range n.Children {
		s += c.String()
	}
	return s + ")"
}

// TestWorkflowOfALongChain: deep chains come in pieces that every reader of
// JSON can take.
func TestWorkflowOfALongChain(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), anyTime...)
	const length = 450
	var lines [][]byte
	for i := range length {
		lines = append(lines, fmt.Appendf(nil, `{"task_id":"c%d","task_name":"n%d","state":"SUCCESS","finished_at":%d,"root_id":"c0","parent_id":"c%d"}`, i, i, 1795392000+i, max(i-1, 0)))
	}
	p.mustPost("/api/v1/invocations", lines)
	_, body := p.get("/api/v1/workflows/c0")
	var flow struct {
		Tree    treeNode
		Deeper  []treeNode
		Orphans []treeNode
	}
	if err := json.Unmarshal(body, &flow); err != nil {
		t.Fatal(err)
	}
	depth := 0
	for _, at := range append([]treeNode{flow.Tree}, flow.Deeper...) {
		levels := 0
		for n := at; ; n = n.Children[0] {
			if n.TaskName != fmt.Sprint("n", depth) || n.Depth != depth {
				t.Fatalf("%s at depth %d, want %d", n.TaskName, n.Depth, depth)
			}
			depth++
			if levels++; levels > 201 {
				t.Fatal("nested deeper than said")
			}
			if len(n.Children) == 0 {
				break
			}
		}
	}
	if depth != length || len(flow.Orphans) != 0 {
		t.Errorf("%d of %d, %d orphans", depth, length, len(flow.Orphans))
	}
	p.quit()
}
