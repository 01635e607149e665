package brokers

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// App is the Celery app of testdata on one broker.
type App struct {
	dir string // of shop.py
	env []string
}

// NewApp makes ready to run the app in dir on a broker.
func NewApp(t testing.TB, dir, brokerURL string) *App {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &App{dir: dir, env: []string{"SHOP_BROKER=" + brokerURL, "PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "HOME=" + scratch(t)}}
}

// Worker starts a worker and waits until it takes tasks.
func (a *App) Worker(t testing.TB, name, zone string, args ...string) *Process {
	t.Helper()
	args = append([]string{"-m", "celery", "-A", "shop", "worker", "-E", "-n", name + "@%h", "--without-gossip", "--without-mingle", "-l", "info"}, args...)
	p := start(t, "worker "+name, append([]string{"TZ=" + zone}, a.env...), nil, python, args...)
	p.says(t, " ready.", 60*time.Second)
	return p
}

// Watch starts Celery's own event receiver; the file collects what it sees.
func (a *App) Watch(t testing.TB) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "watched.ndjson")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	start(t, "watch", append([]string{"TZ=UTC"}, a.env...), f, python, filepath.Join(a.dir, "watch.py"))
	return file
}

// Drive runs drive.py in the background; the file has a line for every task
// when the process has ended.
func (a *App) Drive(t testing.TB, args ...string) (file string, p *Process) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "driven.ndjson")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return file, start(t, "drive", append([]string{"TZ=UTC"}, a.env...), f, python, append([]string{filepath.Join(a.dir, "drive.py")}, args...)...)
}

// Wait waits for the process to end by itself, without an error.
func (p *Process) Wait(t testing.TB, limit time.Duration) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		t.Fatalf("%s has not ended within %v:\n%s", p.name, limit, last(p.out.String(), 4000))
	}
	if !p.cmd.ProcessState.Success() {
		t.Fatalf("%s: %v:\n%s", p.name, p.cmd.ProcessState, last(p.out.String(), 4000))
	}
}
