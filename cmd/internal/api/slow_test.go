package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// stall is short enough for a test, and long enough for a slow machine.
const stall = 150 * time.Millisecond

// slowServer serves f with short limits. ended gets a value for every request
// that the handler is done with.
func slowServer(t *testing.T, f *fake) (srv *httptest.Server, ended chan struct{}) {
	t.Helper()
	h := newAPI(f, func(c *api.Config) { c.Stall = stall })
	ended = make(chan struct{}, 16)
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		ended <- struct{}{}
	}))
	t.Cleanup(srv.Close)
	return srv, ended
}

func dial(t *testing.T, srv *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func wait(t *testing.T, ended chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the handler does not end")
	}
}

// TestSlowBody has a client that stops in the middle of its body, and one that
// sends a byte now and then for ever.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	for name, every := range map[string]time.Duration{"stops": 0, "a byte now and then": stall / 4} {
		srv, ended := slowServer(t, newFake())
		conn := dial(t, srv)
		fmt.Fprintf(conn, "POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{")
		stop := make(chan struct{})
		if every > 0 {
			go func() {
				tick := time.NewTicker(every)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						if _, err := conn.Write([]byte(" ")); err != nil {
							return
						}
					case <-stop:
						return
					}
				}
			}()
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := readAll(t, resp.Body)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, "in time") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
		close(stop)
		wait(t, ended)
	}
}

// TestUnwantedBody has bodies that are announced, not wanted and never sent:
// the answer must not wait for them, nor the connection stay for ever.
func TestUnwantedBody(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"GET /healthz", "GET /api/v1/invocations", "DELETE /api/v1/events", "POST /nope", "POST /api/v1/invocations?x=y"} {
		for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
			t.Run(start+", "+length, func(t *testing.T) {
				t.Parallel()
				srv, _ := slowServer(t, newFake())
				conn := dial(t, srv)
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", start, length)
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection stays")
				}
			})
		}
	}
}

// TestNeverReads has a client that asks for much and reads nothing of it.
func TestNeverReads(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"identity", "gzip"} {
		f := newFake()
		row := task.Invocation{TaskID: "a", State: task.StateSent, UpdatedAt: 1e6, Args: noise(8 << 10)}
		f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) {
			page := tsdb.Page{Complete: true}
			for range 4000 {
				page.Invocations = append(page.Invocations, row)
			}
			return page, nil
		}
		srv, ended := slowServer(t, f)
		conn := dial(t, srv)
		fmt.Fprintf(conn, "GET /api/v1/invocations HTTP/1.1\r\nHost: h\r\nAccept-Encoding: %s\r\n\r\n", accept)
		wait(t, ended)
	}
}

// noise is text that compresses badly.
func noise(n int) string {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'a' + byte(x>>24)%26
	}
	return string(b)
}

// TestKeptConnection uses a connection again after the limits of its first
// request have passed.
func TestKeptConnection(t *testing.T) {
	t.Parallel()
	srv, _ := slowServer(t, newFake())
	conn := dial(t, srv)
	r := bufio.NewReader(conn)
	pause := time.NewTimer(2 * stall)
	for i := range 2 {
		if i == 1 {
			<-pause.C
		}
		fmt.Fprintf(conn, "POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(goodLine))
		head, err := r.ReadString('\n')
		if err != nil || !strings.Contains(head, "100 Continue") {
			t.Fatalf("request %d: %q, %v", i+1, head, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, goodLine); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text := readAll(t, resp.Body); resp.StatusCode != http.StatusOK {
			t.Errorf("request %d: %d %s", i+1, resp.StatusCode, text)
		}
	}
}

// TestRedact wants secrets masked before the store sees them, on both
// endpoints.
func TestRedact(t *testing.T) {
	f := newFake()
	h := newAPI(f, func(c *api.Config) { c.Redact = func(v *task.Invocation) { v.Kwargs = "masked" } })
	for path, body := range map[string]string{
		"/api/v1/invocations": goodLine + `{"task_id":"b","queue":"q"}`, // one without a time
		"/api/v1/events":      `{"type":"task-received","uuid":"c","timestamp":1795435200,"kwargs":"{}"}`,
	} {
		if w := do(h, request("POST", path, body)); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if len(f.records) != 3 {
		t.Fatalf("%d records", len(f.records))
	}
	for _, rec := range f.records {
		if rec.Kwargs != "masked" {
			t.Errorf("%s: %q", rec.TaskID, rec.Kwargs)
		}
	}
}

// slowWriter is a connection that takes every piece late, and notes its limits.
type slowWriter struct {
	*httptest.ResponseRecorder
	tick  *time.Ticker
	until []time.Time
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.tick.C
	return w.ResponseRecorder.Write(p)
}

func (w *slowWriter) SetWriteDeadline(at time.Time) error {
	w.until = append(w.until, at)
	return nil
}

// TestWholeAnswerHasALimit has a client that takes every piece just in time.
func TestWholeAnswerHasALimit(t *testing.T) {
	t.Parallel()
	f := newFake()
	row := task.Invocation{TaskID: "a", State: task.StateSent, UpdatedAt: 1e6, Args: noise(8 << 10)}
	f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) {
		return tsdb.Page{Complete: true, Invocations: slices.Repeat([]task.Invocation{row}, 300)}, nil
	}
	const piece = 2 * time.Millisecond
	h := newAPI(f, func(c *api.Config) { c.Stall = piece })
	w := &slowWriter{ResponseRecorder: httptest.NewRecorder(), tick: time.NewTicker(2 * piece)}
	defer w.tick.Stop()
	h.ServeHTTP(w, request("GET", "/api/v1/invocations", ""))
	n := len(w.until)
	if n < 20 {
		t.Fatalf("%d pieces", n)
	}
	if whole := w.until[n-1].Sub(w.until[0]); whole > 10*piece {
		t.Errorf("the last piece of %d may come %s after the first", n, whole)
	}
}
