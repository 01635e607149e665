package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is the program under test: DAYBOOK_BIN, or built once from these sources.
var bin = os.Getenv("DAYBOOK_BIN")

// buildFlags are those that it is built with; the tests' own -race is one.
var buildFlags []string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	for _, kv := range os.Environ() { // flags of whoever runs the tests, and what is for the tests alone
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "DAYBOOK_") || name == "GOGC" {
			os.Unsetenv(name)
		}
	}
	if bin == "" {
		dir, err := os.MkdirTemp("", "daybook-test")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = filepath.Join(dir, "daybook")
		args := append(append([]string{"build", "-o", bin}, buildFlags...), ".")
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the program under test: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// patience is how long anything may take that a test waits for.
const patience = 30 * time.Second

// eventually polls until ok, or fails with what last was in the way.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// process is a daemon.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	logs *logs
	done chan struct{} // closed when it has ended
	err  error         // of Wait
}

// logs collects stderr and tells the address from it.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
	addr chan string
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var addrField = regexp.MustCompile(` addr=(\S+)`)

func (l *logs) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.mu.Lock()
		fmt.Fprintln(&l.text, lines.Text())
		l.mu.Unlock()
		if m := addrField.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case l.addr <- m[1]:
			default:
			}
		}
	}
}

// anyTime are the flags for events of any time.
var anyTime = []string{"--retention.time=0", "--ingest.max-past=36500d", "--ingest.max-future=36500d"}

// serve starts a daemon on dir and waits until it is ready.
func serve(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	p := launch(t, dir, flags...)
	eventually(t, "the daemon gets ready", func() error {
		code, body := p.get("/-/ready")
		if code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	return p
}

// launch starts a daemon and waits until it listens.
func launch(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	p := start(t, nil, dir, flags...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the daemon on %s said:\n%s", filepath.Base(dir), p.logs)
		}
	})
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case addr := <-p.logs.addr:
		p.url = "http://" + addr
	case <-p.done:
		t.Fatalf("the daemon ended: %v\n%s", p.err, p.logs)
	case <-deadline.C:
		t.Fatalf("the daemon does not listen:\n%s", p.logs)
	}
	return p
}

// start starts a daemon with more in its environment, and waits for nothing.
func start(t *testing.T, env []string, dir string, flags ...string) *process {
	t.Helper()
	args := append([]string{"serve", "--storage.path=" + dir, "--web.listen-address=127.0.0.1:0", "--web.enable-admin-api"}, flags...)
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	stderr, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p := &process{t: t, cmd: cmd, logs: &logs{addr: make(chan string, 1)}, done: make(chan struct{})}
	go func() {
		p.logs.read(stderr)
		stderr.Close()
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the daemon to end and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("SIGTERM: %v", err)
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.done:
	case <-deadline.C:
		p.t.Fatalf("the daemon does not end:\n%s", p.logs)
	}
	return exitCode(p.t, p.err)
}

// quit stops the daemon and wants a clean end.
func (p *process) quit() {
	p.t.Helper()
	if code := p.stop(); code != 0 {
		p.t.Fatalf("SIGTERM ends with exit code %d:\n%s", code, p.logs)
	}
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatalf("it did not run: %v", err)
	return -1
}

func (p *process) do(method, path string, body []byte, header ...string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func (p *process) get(path string) (int, []byte) {
	p.t.Helper()
	code, body, err := p.do(http.MethodGet, path, nil)
	if err != nil {
		p.t.Fatalf("GET %s: %v\n%s", path, err, p.logs)
	}
	return code, body
}

// command runs a tool and returns what it printed and its exit code.
func command(t *testing.T, stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errOut
	err := cmd.Run()
	return out.String(), errOut.String(), exitCode(t, err)
}

// emptyData is a data directory in which nothing is yet.
func emptyData(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "days"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tool runs a tool that has to succeed.
func tool(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, code := command(t, nil, args...)
	if code != 0 {
		t.Fatalf("daybook %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// verified wants nothing to be found in a data directory.
func verified(t *testing.T, dir string) {
	t.Helper()
	if out, errOut, code := command(t, nil, "verify", "--storage.path="+dir); code != 0 {
		t.Errorf("daybook verify: exit code %d\n%s%s", code, out, errOut)
	}
}

// wants is an error unless ok.
func wants(ok bool) error {
	if !ok {
		return errors.New("not yet")
	}
	return nil
}
