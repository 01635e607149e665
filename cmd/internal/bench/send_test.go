package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fake is a daemon that answers as it is told to.
type fake struct {
	answers func(n int64, w http.ResponseWriter) bool // false: take the lines
	dropped atomic.Int64
	posts   atomic.Int64
	rows    atomic.Int64
	mu      sync.Mutex
	bodies  map[string]int
}

func (f *fake) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/healthz" {
		fmt.Fprintf(w, `{"dropped_total":%d}`, f.dropped.Load())
		return
	}
	body, _ := io.ReadAll(req.Body)
	f.mu.Lock()
	f.bodies[string(body)]++
	f.mu.Unlock()
	if f.answers(f.posts.Add(1), w) {
		return
	}
	n := bytes.Count(body, []byte("\n"))
	f.rows.Add(int64(n))
	fmt.Fprintf(w, `{"accepted":%d,"ignored":0,"rejected":0,"dropped":0}`, n)
}

func sendTo(t *testing.T, f *fake, s sending) sent {
	t.Helper()
	f.bodies = map[string]int{}
	server := httptest.NewTLSServer(f) // of an authority that has to be named
	defer server.Close()
	trust := server.Client().Transport.(*http.Transport).TLSClientConfig
	r := run{Options: Options{Seed: 1, Progress: func(string) {}}}
	out, err := r.send(t.Context(), remote(server.URL, trust), s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSendDropped has a daemon that drops what it acknowledged before: no
// answer says so, and what is gone was not sustained.
func TestSendDropped(t *testing.T) {
	f := &fake{}
	f.dropped.Store(1000) // of others, before
	f.answers = func(int64, http.ResponseWriter) bool { f.dropped.Add(3); return false }
	out := sendTo(t, f, sending{clients: 2, batch: 10, rows: 200})
	if out.Accepted != 200 || out.lost != 60 || out.stayed() != 140 || out.rate() >= 150/out.took.Seconds() {
		t.Errorf("accepted %d, lost %d, stayed %d, %v/s in %s", out.Accepted, out.lost, out.stayed(), out.rate(), out.took)
	}
	// Rows of a request that its own answer calls dropped are not accepted, and
	// count once.
	if s := (sent{answer: answer{Accepted: 90, Dropped: 10}, lost: 15}); s.stayed() != 85 {
		t.Errorf("%d stayed", s.stayed())
	}
}

// TestSendAgain is told to come again: the same lines, after the time that the
// daemon names, which counts as the wait of their request.
func TestSendAgain(t *testing.T) {
	f := &fake{answers: func(n int64, w http.ResponseWriter) bool {
		if n > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}}
	out := sendTo(t, f, sending{clients: 1, batch: 10, rows: 20})
	if out.Accepted != 20 || out.busy != 1 || out.ack(1) < 1000 || f.posts.Load() != 3 || len(f.bodies) != 2 {
		t.Errorf("accepted %d, busy %d, longest %v ms, %d requests of %d bodies", out.Accepted, out.busy, out.ack(1), f.posts.Load(), len(f.bodies))
	}
}

// TestSendStop ends the sending while requests are under way: they are waited
// for, as they may have waited longest.
func TestSendStop(t *testing.T) {
	stop, under := make(chan struct{}), make(chan struct{})
	f := &fake{answers: func(n int64, _ http.ResponseWriter) bool {
		if n == 5 {
			close(stop)
			close(under)
		}
		<-under
		return false
	}}
	out := sendTo(t, f, sending{clients: 5, batch: 10, stop: stop})
	if out.Accepted != f.rows.Load() || len(out.acks) != int(f.posts.Load()) || out.Accepted != 50 {
		t.Errorf("accepted %d of %d, %d acknowledgements", out.Accepted, f.rows.Load(), len(out.acks))
	}
}

// TestPooled counts an acknowledgement once, however many windows it is in.
func TestPooled(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	s := sent{}
	for ms := 10; ms <= 100; ms += 10 {
		s.done = append(s.done, ackAt{at(ms), 5 * time.Millisecond})
	}
	ws := []window{{from: at(45), to: at(72)}, {from: at(48), to: at(76)}} // 50, 60, 70 and 80, which began to wait
	if n, before := len(pooled(&s, ws, 0)), len(pooled(&s, ws, 40*time.Millisecond)); n != 4 || before != 4 {
		t.Errorf("%d, before %d", n, before)
	}
}
