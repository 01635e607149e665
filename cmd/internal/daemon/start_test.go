package daemon_test

import (
	"bytes"
	"context"
	"regexp"
	"sync"
	"testing"
	"time"

	"daybook/cmd/internal/daemon"
)

// patience is how long anything may take that a test waits for.
const patience = 30 * time.Second

// running is a daemon in this process.
type running struct {
	addr string
	logs *logs
}

// start runs a daemon until the test ends.
func start(t *testing.T, c daemon.Config) *running {
	t.Helper()
	l := &logs{addr: make(chan string, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, c, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v\n%s", err, l)
		}
	})
	select {
	case addr := <-l.addr:
		return &running{addr, l}
	case <-time.After(patience):
		t.Fatalf("the daemon does not listen: %s", l)
		return nil
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// logs collects messages and tells the address from them.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
	addr chan string
}

var addrField = regexp.MustCompile(`msg=listening addr=(\S+)`)

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := addrField.FindSubmatch(p); m != nil {
		l.addr <- string(m[1])
	}
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
