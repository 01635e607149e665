package main_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

// capture is the events that real workers sent, a line each.
func capture(t *testing.T) [][]byte {
	t.Helper()
	f, err := os.Open("testdata/events.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(all), []byte("\n"))
}

// merged is what the events say about each task_id.
func merged(t *testing.T, lines [][]byte) map[string]task.Invocation {
	t.Helper()
	want := make(map[string]task.Invocation)
	for _, l := range lines {
		items, err := new(celery.Decoder).Events(l)
		if err != nil || items[0].Err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		if ev := items[0].Event; items[0].Kind == celery.Task {
			want[ev.TaskID] = task.Merge(want[ev.TaskID], ev.Invocation())
		}
	}
	return want
}

// ends is the state that Celery ended each task with, from nothing but the
// types of its events: what succeeded or failed stays so, whatever came after.
func ends(t *testing.T, lines [][]byte) map[string]string {
	t.Helper()
	rank := map[string]int{"task-succeeded": 3, "task-failed": 3, "task-revoked": 2, "task-rejected": 2}
	names := map[string]string{"task-succeeded": "SUCCESS", "task-failed": "FAILURE", "task-revoked": "REVOKED", "task-rejected": "REJECTED"}
	at := make(map[string]float64)
	best := make(map[string]int)
	out := make(map[string]string)
	for _, l := range lines {
		var ev struct {
			Type, UUID string
			Timestamp  float64
			Requeue    bool
		}
		if err := json.Unmarshal(l, &ev); err != nil {
			t.Fatal(err)
		}
		r := rank[ev.Type]
		if r == 0 || ev.UUID == "" || ev.Requeue {
			continue
		}
		if r > best[ev.UUID] || r == best[ev.UUID] && ev.Timestamp > at[ev.UUID] {
			best[ev.UUID], at[ev.UUID], out[ev.UUID] = r, ev.Timestamp, names[ev.Type]
		}
	}
	return out
}

// post uploads lines and wants all of them to be taken.
func (p *process) post(path string, lines [][]byte) error {
	code, body, err := p.do(http.MethodPost, path, append(bytes.Join(lines, []byte("\n")), '\n'))
	if err != nil {
		return err
	}
	var a struct{ Accepted, Ignored, Rejected, Dropped int }
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("%d %s: %w", code, body, err)
	}
	if code != http.StatusOK || a.Accepted+a.Ignored != len(lines) {
		return fmt.Errorf("%d %s", code, body)
	}
	return nil
}

// mustPost uploads in pieces.
func (p *process) mustPost(path string, lines [][]byte) {
	p.t.Helper()
	for piece := range slices.Chunk(lines, 500) {
		if err := p.post(path, piece); err != nil {
			p.t.Fatalf("POST %s: %v", path, err)
		}
	}
}

// walk reads all pages of a query: the invocations as printed, in order, and
// fails if a task_id is shown twice.
func (p *process) walk(query string) []string {
	p.t.Helper()
	var out []string
	seen := make(map[string]bool)
	for cursor := ""; ; {
		code, body := p.get("/api/v1/invocations?limit=97&" + query + "&cursor=" + url.QueryEscape(cursor))
		var page struct {
			Invocations []json.RawMessage
			Next        *string `json:"next_cursor"`
			Complete    bool
		}
		if err := json.Unmarshal(body, &page); err != nil || code != http.StatusOK || !page.Complete {
			p.t.Fatalf("%s: %d %v %.500s", query, code, err, body)
		}
		for _, raw := range page.Invocations {
			if id := idOf(p.t, string(raw)); seen[id] {
				p.t.Errorf("%s is shown twice", id)
			} else {
				seen[id] = true
			}
			out = append(out, string(raw))
		}
		if page.Next == nil {
			return out
		}
		cursor = *page.Next
	}
}

func idOf(t *testing.T, invocation string) string {
	t.Helper()
	var v struct {
		ID string `json:"task_id"`
	}
	if err := json.Unmarshal([]byte(invocation), &v); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// shows wants the daemon to show exactly what the lines say.
func (p *process) shows(lines [][]byte) {
	p.t.Helper()
	want := merged(p.t, lines)
	ends := ends(p.t, lines)
	rows := p.walk("")
	for _, got := range rows {
		id := idOf(p.t, got)
		v, ok := want[id]
		if !ok {
			p.t.Errorf("%s was never sent", id)
			continue
		}
		if wanted := string(task.AppendJSON(nil, &v)); got != wanted {
			p.t.Errorf("shown  %s\nwanted %s", got, wanted)
		}
		if end := ends[id]; end != "" && !strings.Contains(got, `"state":"`+end+`"`) {
			p.t.Errorf("Celery ended with %s: %s", end, got)
		}
		delete(want, id)
	}
	for id := range want {
		p.t.Errorf("%s is missing", id)
	}
}
