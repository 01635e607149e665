package daemon_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/daemon"
)

// TestRequestsEndWithTheDaemon has a request whose body is being read when the
// daemon stops: it is told that, and not that its client went away.
func TestRequestsEndWithTheDaemon(t *testing.T) {
	l := &logs{addr: make(chan string, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := config(t)
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, c, l) }()
	conn, err := net.Dial("tcp", <-l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	ask := func() (code int, text string) {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	eventually(t, "the daemon is not ready", func() bool {
		fmt.Fprint(conn, "GET /-/ready HTTP/1.1\r\nHost: h\r\n\r\n")
		code, _ := ask()
		return code == http.StatusOK
	})
	fmt.Fprint(conn, "POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
	if code, text := ask(); code != http.StatusContinue {
		t.Fatal(code, text)
	}
	cancel()
	if code, text := ask(); code != http.StatusServiceUnavailable || !strings.Contains(text, "shutting down") {
		t.Errorf("%d %s", code, text)
	}
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, l)
	}
}
