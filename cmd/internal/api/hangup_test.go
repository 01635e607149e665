package api_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// hangupServer serves f. seen gets the context of every request, as net/http
// made it, and ended a value when it is done. closed ends the requests as the end
// of the daemon does.
type hangupServer struct {
	*httptest.Server
	seen   chan context.Context
	ended  chan struct{}
	closed func()
	counts *prometheus.Registry
}

func serveHangups(t *testing.T, f *fake, more ...func(*api.Config)) *hangupServer {
	t.Helper()
	s := &hangupServer{seen: make(chan context.Context, 64), ended: make(chan struct{}, 64), counts: prometheus.NewRegistry()}
	h := newAPI(f, func(c *api.Config) {
		c.Metrics = s.counts
		for _, set := range more {
			set(c)
		}
	})
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.seen <- r.Context()
		h.ServeHTTP(w, r)
		s.ended <- struct{}{}
	}))
	base, cancel := context.WithCancelCause(context.Background())
	s.closed = func() { cancel(tsdb.ErrClosed) }
	s.Config.BaseContext = func(net.Listener) context.Context { return base }
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// want looks at how many requests were counted with this code, and that none has
// another one.
func (s *hangupServer) want(t *testing.T, code string, n int) {
	t.Helper()
	families, err := s.counts.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "code" {
					got[l.GetValue()] += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	if !maps.Equal(got, map[string]int{code: n}) {
		t.Errorf("counted are %v", got)
	}
}

// half sends text, and then nothing more: the answer is waited for.
func half(t *testing.T, s *hangupServer, text string) (code int, answer string) {
	t.Helper()
	conn := dial(t, s.Server)
	fmt.Fprint(conn, text)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer = readAll(t, resp.Body)
	wait(t, s.ended)
	conn.Close()
	return resp.StatusCode, answer
}

const askRows = "GET /api/v1/invocations HTTP/1.1\r\nHost: h\r\n\r\n"

// TestHalfClosed has clients that close their side of the connection behind
// their request, as some probes do.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	t.Run("a query that is quick is answered", func(t *testing.T) {
		t.Parallel()
		f := newFake()
		s := serveHangups(t, f)
		f.selectFn = func(ctx context.Context, _ tsdb.Query) (tsdb.Page, error) {
			<-(<-s.seen).Done() // the server knows
			return tsdb.Page{Complete: true}, ctx.Err()
		}
		if code, text := half(t, s, askRows); code != http.StatusOK {
			t.Errorf("%d %s", code, text)
		}
	})
	t.Run("one that is not ends, and is told why", func(t *testing.T) {
		t.Parallel()
		f := newFake()
		f.selectFn = func(ctx context.Context, _ tsdb.Query) (tsdb.Page, error) {
			<-ctx.Done()
			return tsdb.Page{}, ctx.Err()
		}
		s := serveHangups(t, f)
		if code, text := half(t, s, askRows); code != 499 || !strings.Contains(text, "closed the connection") {
			t.Errorf("%d %s", code, text)
		}
		s.want(t, "499", 1)
	})
	t.Run("a body that is whole is stored", func(t *testing.T) {
		t.Parallel()
		s := serveHangups(t, newFake())
		for encoding, body := range encoded(t, goodLine) {
			for range 10 { // the server may see the end early or late
				if code, text := half(t, s, rawPost(encoding, len(body), body)); code != http.StatusOK {
					t.Fatalf("%s: %d %s", encoding, code, text)
				}
			}
		}
	})
	t.Run("a body that is cut short is told so", func(t *testing.T) {
		t.Parallel()
		s := serveHangups(t, newFake())
		n := 0
		for encoding, body := range encoded(t, goodLine) {
			for _, left := range []int{1, len(body) / 2, len(body) - 1} {
				code, text := half(t, s, rawPost(encoding, len(body), body[:left]))
				if n++; code != http.StatusBadRequest || !strings.Contains(text, "cut short") {
					t.Errorf("%s, %d bytes: %d %s", encoding, left, code, text)
				}
			}
		}
		s.want(t, "400", n)
	})
}

// encoded is a text in all encodings of bodies.
func encoded(t *testing.T, text string) map[string]string {
	t.Helper()
	return map[string]string{"identity": text, "gzip": zip(t, text), "zstd": zstandard(t, text)}
}

func rawPost(encoding string, length int, body string) string {
	return fmt.Sprintf("POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", encoding, length, body)
}

// TestGoneClient has clients that are gone, with their request running or half
// sent: they are counted apart.
func TestGoneClient(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{
		"query": askRows,
		"body":  "POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			f.selectFn = func(ctx context.Context, _ tsdb.Query) (tsdb.Page, error) {
				<-ctx.Done()
				return tsdb.Page{}, ctx.Err()
			}
			s := serveHangups(t, f)
			conn := dial(t, s.Server)
			fmt.Fprint(conn, begin)
			<-s.seen
			if name == "body" { // it is being read
				if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
					t.Fatal(line, err)
				}
			}
			if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // a reset, not an end
				t.Fatal(err)
			}
			conn.Close()
			wait(t, s.ended)
			s.want(t, "499", 1)
		})
	}
}

// TestRequestsEndWithTheDaemon wants 503 for what the end of the daemon cuts off,
// whether it runs, waits or is being read.
func TestRequestsEndWithTheDaemon(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{
		"query": askRows,
		"body":  "POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
		"gzip":  "POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nContent-Encoding: gzip\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			running := make(chan struct{}, 1)
			f.selectFn = func(ctx context.Context, _ tsdb.Query) (tsdb.Page, error) {
				running <- struct{}{}
				<-ctx.Done()
				return tsdb.Page{}, ctx.Err()
			}
			s := serveHangups(t, f)
			conn := dial(t, s.Server)
			r := bufio.NewReader(conn)
			fmt.Fprint(conn, begin)
			if name == "query" {
				<-running
			} else if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusContinue {
				t.Fatal(resp, err)
			}
			s.closed()
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text := readAll(t, resp.Body); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "shutting down") || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
			wait(t, s.ended)
			s.want(t, "503", 1)
		})
	}
}

// A body of which a part has been taken in when the daemon ends, or nothing yet, is
// refused with 503 as one that is waited for is: after a 400 nobody sends it again.
func TestBodiesEndWithTheDaemon(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 1))
	var lines strings.Builder
	for range 5000 {
		fmt.Fprintf(&lines, `{"task_id":"%016x%016x","state":"SUCCESS","finished_at":1}`+"\n", r.Uint64(), r.Uint64())
	}
	for encoding, body := range encoded(t, lines.String()) {
		for _, when := range []string{"before", "meanwhile"} {
			t.Run(encoding+" "+when, func(t *testing.T) {
				t.Parallel()
				var s *hangupServer
				s = serveHangups(t, newFake(), func(c *api.Config) {
					c.Redact = func(*task.Invocation) { s.closed() }
				})
				if when == "before" {
					s.closed()
				}
				req, err := http.NewRequest(http.MethodPost, s.URL+"/api/v1/invocations", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Encoding", encoding)
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if text := readAll(t, resp.Body); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "shutting down") || resp.Header.Get("Retry-After") == "" {
					t.Errorf("%d %s", resp.StatusCode, text)
				}
			})
		}
	}
}
