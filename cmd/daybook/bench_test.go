package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"daybook/cmd/internal/bench"
)

// TestBench runs small benchmarks and looks for their figures.
func TestBench(t *testing.T) {
	names := []string{"ingest", "cut", "seal", "restart"} // the others take their time
	if testing.Short() {
		names = []string{"ingest", "cut", "restart"}
	}
	dir := t.TempDir()
	args := append([]string{"bench", "--json", "--rows=2000", "--days=2", "--length=1s", "--clients=2", "--rate=3000", "--storage.path=" + filepath.Join(dir, "data")}, names...)
	cmd := exec.Command(bin, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "DAYBOOK_URL=http://127.0.0.1:1") // of other commands
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report bench.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !report.Complete || report.Setting["version"] == "" || report.Setting["started"] == "" {
		t.Errorf("complete: %t, %v", report.Complete, report.Setting)
	}
	for _, name := range names {
		i := slices.IndexFunc(report.Figures, func(f bench.Figure) bool { return f.Bench == name && f.Measured > 0 })
		if i < 0 {
			t.Errorf("no figure of %s: %s", name, out)
		}
	}
	nothingLeft(t, dir)
}

// TestBenchURL names a daemon by the environment, where none is.
func TestBenchURL(t *testing.T) {
	cmd := exec.Command(bin, "bench", "--length=1s", "--storage.path="+filepath.Join(t.TempDir(), "data"), "ingest")
	cmd.Env = append(os.Environ(), "DAYBOOK_BENCH_URL=http://127.0.0.1:1")
	if said, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(said), "127.0.0.1:1/") {
		t.Errorf("%v: %s", err, said)
	}
}

// TestBenchInterrupted ends a long benchmark: its daemon and its files go.
func TestBenchInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) { interruptBench(t, sig) })
	}
}

func interruptBench(t *testing.T, sig syscall.Signal) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(bin, "bench", "overload", "--length=10m", "--storage.path="+filepath.Join(dir, "data"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "daybook-bench-*", "overload-*", "wal", "*")
	eventually(t, "lines are sent", func() error {
		found, _ := filepath.Glob(log)
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.Size() > 100_000 {
				return nil
			}
		}
		return errors.New("nothing is logged yet")
	})
	if len(serving(dir)) == 0 && runtime.GOOS == "linux" {
		t.Error("the daemon is not found")
	}
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	if left := serving(dir); len(left) != 0 {
		t.Errorf("%q runs on", left)
	}
	nothingLeft(t, dir)
}

// serving lists the processes that have a directory on their command line,
// where there is a /proc.
func serving(dir string) (lines []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		line, _ := os.ReadFile(path) // it may be gone
		if args := bytes.Split(line, []byte{0}); len(args) > 2 && string(args[1]) == "serve" && bytes.HasPrefix(args[2], []byte("--storage.path="+dir)) {
			lines = append(lines, string(bytes.Join(args, []byte(" "))))
		}
	}
	return lines
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
