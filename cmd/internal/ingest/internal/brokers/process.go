package brokers

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Until waits for a condition, up to a deadline. It is the one place that looks
// again and again.
func Until(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}

// FreePort is a TCP port on the loopback that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// output collects what a process says, for the log of a test that failed.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Process is a program that runs in a process group of its own.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
	once sync.Once // ends it: its id may be somebody else's afterwards
}

// start runs a program until the test ends or Stop. Its environment is only
// what is given: a test must not depend on the user's.
func start(t testing.TB, name string, env []string, stdout io.Writer, path string, args ...string) *Process {
	t.Helper()
	p := &Process{name: name, cmd: exec.Command(path, args...), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8"}, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 5 * time.Second
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("%s said:\n%s", name, last(p.out.String(), 4000))
		}
	})
	return p
}

// Stop asks the process to end and waits; what is left of its group is killed.
func (p *Process) Stop(t testing.TB) { p.end(t, syscall.SIGTERM) }

// Kill ends the process as a crash would.
func (p *Process) Kill(t testing.TB) { p.end(t, syscall.SIGKILL) }

func (p *Process) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	p.once.Do(func() { p.endOnce(t, signal) })
}

func (p *Process) endOnce(t testing.TB, signal syscall.Signal) {
	t.Helper()
	pid := p.cmd.Process.Pid
	if p.Running() {
		_ = syscall.Kill(pid, signal)
	}
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		t.Logf("%s (pid %d) does not end, killing it", p.name, pid)
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		t.Errorf("%s (pid %d) cannot be killed", p.name, pid)
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// says waits for a text in the output.
func (p *Process) says(t testing.TB, text string, limit time.Duration) {
	t.Helper()
	Until(t, limit, fmt.Sprintf("%s says %q", p.name, text), func() bool {
		if !p.Running() {
			t.Fatalf("%s has ended:\n%s", p.name, last(p.out.String(), 4000))
		}
		return strings.Contains(p.out.String(), text)
	})
}

// scratch is a temporary directory outside of t.TempDir, whose long names do
// not fit into the path of a Unix socket.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "daybook-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Freeze stops the process and its children in their tracks; Thaw lets them go on.
func (p *Process) Freeze(t testing.TB) { p.signal(t, syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (p *Process) Thaw(t testing.TB) { p.signal(t, syscall.SIGCONT) }

func (p *Process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		t.Fatalf("signal %s: %v", p.name, err)
	}
}
