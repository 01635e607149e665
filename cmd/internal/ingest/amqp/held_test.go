package amqp

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// TestKept: only the broker itself can say that it is still there.
func TestKept(t *testing.T) {
	server := func(code int, reason string) error { return &amqp091.Error{Code: code, Reason: reason, Server: true} }
	for name, x := range map[string]struct {
		err  error
		want bool
	}{
		"refused":        {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, false},
		"unreachable":    {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, false},
		"no such host":   {&net.DNSError{Err: "no such host", IsNotFound: true}, false},
		"timeout":        {os.ErrDeadlineExceeded, false},
		"cut off":        {&amqp091.Error{Code: amqp091.FrameError, Reason: "EOF"}, false},
		"closed":         {amqp091.ErrClosed, false},
		"anything":       {errors.New("x"), false},
		"shut down":      {server(amqp091.ConnectionForced, "broker forced connection closure with reason 'shutdown'"), false},
		"closed by hand": {server(amqp091.ConnectionForced, "Closed via management plugin"), true},
		"password":       {amqp091.ErrCredentials, true},
		"no right":       {server(amqp091.AccessRefused, "x"), true},
		"deleted":        {errCancelled, true},
	} {
		for queue, want := range map[string]bool{"daybook": x.want, "": false} {
			c := &Consumer{config: &config{queue: queue}}
			if got := c.kept(x.err); got != want {
				t.Errorf("%s, queue %q: kept %v", name, queue, got)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	b := bounds{messages: 1000, bytes: 100_000}
	for _, x := range []struct {
		messages int
		mean     float64
		want     bool
	}{{999, 10, false}, {1000, 0, true}, {100, 1000, true}, {90, 1000, true}, {89, 1000, false}} {
		if got := b.reached(x.messages, x.mean); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
	if (bounds{}).reached(1e9, 1e9) {
		t.Error("limits that are not known are reached")
	}
}

func TestHeld(t *testing.T) {
	h := newHeld(1000)
	here, there := net.Pipe()
	defer there.Close()
	c := &heldConn{Conn: here, held: h}
	h.add(600)
	h.add(600)
	if h.mean() != 600 {
		t.Error(h.mean())
	}
	got := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatal("it was read from: ", err)
	default:
	}
	h.done(600)
	if err := there.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := there.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	// Closing ends a wait.
	h.add(600)
	go func() {
		_, err := c.Read(make([]byte, 1))
		got <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err == nil {
		t.Fatal("read from a closed connection")
	}
	h.done(1200)
}
