package main_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestCapture uploads the capture and reads every task back, once, in the
// state that Celery ended with: from the head, from the live file, after a
// restart, and by id.
func TestCapture(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lines := capture(t)
	p := serve(t, dir, append(anyTime, "--head.cut-interval=1h", "--head.open-timeout=36500d")...)
	p.mustPost("/api/v1/events", lines)
	p.shows(lines)
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	p.shows(lines)
	for id, v := range merged(t, lines) {
		code, body := p.get("/api/v1/invocations/" + id)
		if code != http.StatusOK || !strings.Contains(string(body), `"state":"`+v.State.String()+`"`) {
			t.Fatalf("%s: %d %s", id, code, body)
		}
	}
	p.mustPost("/api/v1/events", lines) // again: nothing changes
	p.shows(lines)
	verified(t, dir) // beside the daemon
	p.quit()
	verified(t, dir)
	serve(t, dir, append(anyTime, "--head.open-timeout=36500d")...).shows(lines)
}

// TestKill kills the daemon at several moments of the upload, while it cuts
// all the time, and wants every acknowledged line after each restart, once.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lines := capture(t)
	flags := append(anyTime, "--head.cut-interval=50ms", "--head.settle=0s", "--head.open-timeout=36500d")
	pieces := slices.Collect(slices.Chunk(lines, 60))
	taken := 0 // pieces that were acknowledged
	for _, until := range []int{7, 19, 20, 43} {
		p := serve(t, dir, flags...)
		acks := make(chan int, len(pieces))
		go func() {
			defer close(acks)
			for i := taken; i < len(pieces); i++ {
				if p.post("/api/v1/events", pieces[i]) != nil {
					return // killed in the middle of it
				}
				acks <- i + 1
			}
		}()
		for n := range acks {
			if taken = n; n == until {
				p.kill()
			}
		}
		again := serve(t, dir, flags...)
		again.holds(pieces[:taken], lines)
		again.kill()
	}
	p := serve(t, dir, flags...)
	for _, piece := range pieces[taken:] {
		p.mustPost("/api/v1/events", piece)
	}
	p.shows(lines)
	p.quit()
	verified(t, dir)
	serve(t, dir, flags...).shows(lines)
}

// holds wants all that was acknowledged, and nothing that was never sent. Of
// the piece that was under way, any part may be there.
func (p *process) holds(taken [][][]byte, all [][]byte) {
	p.t.Helper()
	want := merged(p.t, slices.Concat(taken...))
	sent := merged(p.t, all)
	for _, row := range p.walk("") {
		id := idOf(p.t, row)
		if _, ok := sent[id]; !ok {
			p.t.Errorf("%s was never sent", id)
		}
		v, ok := want[id]
		if ok && v.State.Finished() && !strings.Contains(row, fmt.Sprintf(`"state":%q`, v.State)) {
			p.t.Errorf("%s was acknowledged as %s: %s", id, v.State, row)
		}
		delete(want, id)
	}
	for id := range want {
		p.t.Errorf("%s was acknowledged and is gone", id)
	}
}

// TestStopDuringUpload ends a daemon while a client is in the middle of a body
// and another one keeps its connection.
func TestStopDuringUpload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir, anyTime...)
	p.mustPost("/api/v1/invocations", [][]byte{[]byte(`{"task_id":"kept","finished_at":1795435200}`)})
	r, w := io.Pipe()
	defer w.Close()
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Post(p.url+"/api/v1/invocations", "", r)
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	if _, err := io.WriteString(w, `{"task_id":"half","finished_at":1795435200}`+"\n"); err != nil {
		t.Fatal(err)
	}
	p.quit()
	if text := p.logs.String(); strings.Contains(text, "requests cut off") {
		t.Errorf("it waited for a client that sends no more:\n%s", text)
	}
	w.CloseWithError(io.ErrClosedPipe)
	if code := <-answered; code == http.StatusOK {
		t.Error("half an upload was acknowledged")
	}
	if rows := serve(t, dir, anyTime...).walk(""); len(rows) != 1 || idOf(t, rows[0]) != "kept" {
		t.Errorf("%v", rows)
	}
	verified(t, dir)
}
