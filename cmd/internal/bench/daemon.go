package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// daemon is a process of the program, or one that runs anyway.
type daemon struct {
	url  string
	dir  string // "" if it is not ours
	pid  int    // 0 if it is not ours
	http *http.Client
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of Wait

	mu     sync.Mutex
	tail   []string // of what it logged
	events []event
}

// event is a day that a daemon says it has sealed or deleted.
type event struct {
	at   time.Time
	line string
}

var eventLine = regexp.MustCompile(` msg="(sealed|deleted) day"`)

// client keeps as many connections as anybody here uses.
func client(trust *tls.Config) *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 1200, DisableCompression: true, TLSClientConfig: trust}}
}

// remote is a daemon that runs anyway.
func remote(url string, trust *tls.Config) *daemon {
	return &daemon{url: strings.TrimSuffix(url, "/"), http: client(trust)}
}

// readyWithin bounds a start, replay of the log included.
const readyWithin = 2 * time.Minute

// start starts a daemon on a directory and waits until it is ready. stop it.
func (r *run) start(ctx context.Context, dir string, flags ...string) (*daemon, error) {
	d, err := r.launch(ctx, dir, flags...)
	if err != nil {
		return nil, err
	}
	if err := d.waitReady(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

var addrField = regexp.MustCompile(` addr=(\S+)`)

// launch starts a daemon and returns once it listens.
func (r *run) launch(ctx context.Context, dir string, flags ...string) (*daemon, error) {
	d := &daemon{dir: dir, http: client(nil), done: make(chan struct{})}
	args := append([]string{"serve", "--storage.path=" + dir, "--web.listen-address=127.0.0.1:0", "--web.enable-admin-api",
		"--wal.sync=" + r.WALSync, "--retention.disk-usage=0", "--retention.time=0"}, flags...) // 0 keeps: days of the past are made
	d.cmd = exec.Command(r.Binary, args...)
	d.cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "DAYBOOK_") }) // flags of a real daemon
	d.cmd.SysProcAttr = apart()                                                                                    // Ctrl-C is for us: we end it
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a daemon: %w", err)
	}
	d.pid = d.cmd.Process.Pid
	addr := make(chan string, 1)
	go func() {
		d.read(stderr, addr)
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	select {
	case a := <-addr:
		d.url = "http://" + a
		return d, nil
	case <-d.done:
		return nil, fmt.Errorf("the daemon ended at its start: %w: %s", d.err, d.lastWords())
	case <-time.After(readyWithin):
		return nil, errors.Join(errors.New("the daemon does not listen"), d.stop())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), d.stop())
	}
}

func (d *daemon) read(r io.Reader, addr chan<- string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d.mu.Lock()
		d.tail = append(d.tail, lines.Text())
		if len(d.tail) > 200 {
			d.tail = d.tail[100:]
		}
		if eventLine.MatchString(lines.Text()) {
			d.events = append(d.events, event{time.Now(), lines.Text()})
		}
		d.mu.Unlock()
		if m := addrField.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case addr <- m[1]:
			default:
			}
		}
	}
}

// did returns the events whose line has a text.
func (d *daemon) did(text string) (out []event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if strings.Contains(e.line, text) {
			out = append(out, e)
		}
	}
	return out
}

func (d *daemon) lastWords() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.tail
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// waitReady polls often: a start is measured by it.
func (d *daemon) waitReady(ctx context.Context) error {
	deadline := time.Now().Add(readyWithin)
	for {
		if code, _, err := d.get(ctx, "/-/ready"); err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("the daemon ended: %w: %s", d.err, d.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the daemon is not ready after %s: %s", readyWithin, d.lastWords())
		}
	}
}

// stop ends a daemon that is ours, in order, and waits for it.
func (d *daemon) stop() error { return d.end(syscall.SIGTERM) }

// kill ends it at once.
func (d *daemon) kill() error { return d.end(syscall.SIGKILL) }

func (d *daemon) end(sig syscall.Signal) error {
	if d.cmd == nil {
		return nil
	}
	select {
	case <-d.done:
		return nil
	default:
	}
	if err := d.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("ending a daemon: %w", err)
	}
	select {
	case <-d.done:
		return nil
	case <-time.After(readyWithin):
		return errors.Join(errors.New("a daemon did not end when it was told to"), d.cmd.Process.Kill())
	}
}

// wrote is the bytes that it caused to be written to the disk in its life,
// after stop.
func (d *daemon) wrote() int64 { return writtenBy(d.cmd.ProcessState) }

func (d *daemon) get(ctx context.Context, path string) (code int, body []byte, err error) {
	code, body, _, err = d.do(ctx, http.MethodGet, path, nil)
	return code, body, err
}

func (d *daemon) do(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, resp.Header, errors.Join(err, resp.Body.Close())
}

// dropped is how many acknowledged rows it has dropped so far.
func (d *daemon) dropped(ctx context.Context) (int64, error) {
	code, body, err := d.get(ctx, "/healthz")
	if err != nil {
		return 0, err
	}
	var health struct {
		Dropped *int64 `json:"dropped_total"`
	}
	if err := json.Unmarshal(body, &health); err != nil || health.Dropped == nil {
		return 0, fmt.Errorf("/healthz does not say what was dropped: %d %.300s", code, body)
	}
	return *health.Dropped, nil
}

// cutAll has everything cut that can be, so that what was written is comparable.
func (d *daemon) cutAll(ctx context.Context, seal bool) error {
	path := "/api/v1/admin/cut"
	if seal {
		path += "?seal=true"
	}
	code, body, _, err := d.do(ctx, http.MethodPost, path, nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("cutting: %d %s", code, body)
	}
	return err
}

// answer is what a request that writes is told.
type answer struct {
	Accepted, Rejected, Dropped int64
}

// post sends lines. again says that the daemon asked to come again after that.
func (d *daemon) post(ctx context.Context, body []byte) (a answer, again time.Duration, err error) {
	code, text, header, err := d.do(ctx, http.MethodPost, "/api/v1/invocations", body)
	switch {
	case err != nil:
		return a, 0, err
	case code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(header.Get("Retry-After")) // what it does not say is a short while
		return a, max(time.Duration(seconds)*time.Second, comeAgain), nil
	case code != http.StatusOK:
		return a, 0, fmt.Errorf("the daemon answers %d: %.300s", code, text)
	}
	return a, 0, json.Unmarshal(text, &a)
}
