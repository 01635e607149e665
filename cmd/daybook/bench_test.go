package main_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report bench.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range names {
		i := slices.IndexFunc(report.Figures, func(f bench.Figure) bool { return f.Bench == name && f.Measured > 0 })
		if i < 0 {
			t.Errorf("no figure of %s: %s", name, out)
		}
	}
	nothingLeft(t, dir)
}

// TestBenchInterrupted ends a long benchmark: its daemon and its files go.
func TestBenchInterrupted(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(bin, "bench", "overload", "--length=10m", "--storage.path="+filepath.Join(dir, "data"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, "daybook-bench-*", "overload-*", "LOCK")
	eventually(t, "a daemon starts", func() error {
		if found, _ := filepath.Glob(lock); len(found) == 0 {
			return errors.New("no lock yet")
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	nothingLeft(t, dir)
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
