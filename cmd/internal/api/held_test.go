package api_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/api"
)

// TestSlowReaderHoldsNothing has a client that asks for a page of megabytes and
// does not read it: its place among the queries is free, and the file that the
// page came from can go.
func TestSlowReaderHoldsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := engineIn(t, dir, func(c *api.Config) {
		c.EnableAdmin, c.QueryMaxConcurrent, c.MaxBody, c.Stall = true, 1, 32<<20, time.Minute
	})
	var body strings.Builder
	at := testNow.Add(-24 * time.Hour)
	trace := noise(60 << 10)
	for i := range 280 { // more than a page and the buffers of a connection
		fmt.Fprintf(&body, `{"task_id":"t%d","state":"FAILURE","finished_at":%d,"exception_type":"E","traceback":"%s"}`+"\n", i, at.Unix()+int64(i), trace)
	}
	if code, got := fetch(t, srv, "POST", "/api/v1/invocations", body.String()); code != http.StatusOK {
		t.Fatal(code, got)
	}
	if code, got := fetch(t, srv, "POST", "/api/v1/admin/cut", ""); code != http.StatusOK {
		t.Fatal(code, got)
	}
	live := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, "live", at.Format(time.DateOnly)+".*.db"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if len(live()) != 1 {
		t.Fatal(live())
	}
	conn := dial(t, srv)
	fmt.Fprintf(conn, "GET /api/v1/invocations?limit=1000 HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil { // it is being written
		t.Fatal(err)
	}
	if code, got := fetch(t, srv, "GET", "/api/v1/invocations?limit=1&details=false", ""); code != http.StatusOK {
		t.Errorf("another query: %d %s", code, got)
	}
	if code, got := fetch(t, srv, "POST", "/api/v1/admin/cut?seal=true", ""); code != http.StatusOK {
		t.Fatal(code, got)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; len(live()) > 0; n++ {
		if <-tick.C; n > 4000 {
			t.Fatalf("the live file stays: %v", live())
		}
	}
	// A second may be as slow; a third is sent away, but not with a small page.
	second := dial(t, srv)
	fmt.Fprintf(second, "GET /api/v1/invocations?limit=1000 HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, err := io.ReadFull(second, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if code, got := fetch(t, srv, "GET", "/api/v1/invocations?limit=1000", ""); code != http.StatusTooManyRequests || !strings.Contains(got, "read slowly") {
		t.Errorf("a third one: %d", code)
	}
	if code, _ := fetch(t, srv, "GET", "/api/v1/invocations?limit=1000&details=false", ""); code != http.StatusOK {
		t.Errorf("a small page: %d", code)
	}
	// It goes on where it was.
	if n, err := io.CopyN(io.Discard, conn, 15<<20); err != nil {
		t.Errorf("after %d bytes: %v", n, err)
	}
}
