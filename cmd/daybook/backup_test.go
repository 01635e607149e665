package main_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sealedWhole wants every file of days/ to be what its checksum says.
func sealedWhole(t *testing.T, dir string) {
	t.Helper()
	dbs, err := filepath.Glob(filepath.Join(dir, "days", "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, db := range dbs {
		sum, err := os.ReadFile(db + ".sha256")
		if os.IsNotExist(err) {
			continue // killed between the two
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%x  %s\n", sha256.Sum256(mustRead(t, db)), filepath.Base(db)); string(sum) != want {
			t.Errorf("%s: %q, want %q", db, sum, want)
		}
	}
}

// answersAs serves a copied directory, read-only and as its own daemon, and
// wants the same invocations.
func answersAs(t *testing.T, what, dir string, want []string) {
	t.Helper()
	q := serve(t, dir, "--storage.read-only")
	if got := q.walk(""); !slices.Equal(got, want) {
		t.Errorf("%s, read-only: %d invocations, not the same as the %d of the original", what, len(got), len(want))
	}
	q.quit()
	verified(t, dir)
	restored := filepath.Join(t.TempDir(), "restored")
	copyDir(t, dir, restored)
	q = serve(t, restored, append(anyTime, "--head.open-timeout=36500d")...)
	if got := q.walk(""); !slices.Equal(got, want) {
		t.Errorf("%s, restored: %d invocations, not the same as the %d of the original", what, len(got), len(want))
	}
	q.quit()
	verified(t, restored)
}

// TestBackupTool backs up beside a daemon that is being written to, is killed
// at many moments, and in the end answers as the original.
func TestBackupTool(t *testing.T) {
	t.Parallel()
	today := thisDay(t)
	dir, dest := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	lines := spread(t, capture(t), today)
	half := len(lines) / 2
	p := serve(t, dir, append(anyTime, "--head.cut-interval=50ms", "--head.settle=0s", "--head.open-timeout=36500d", "--seal.delay=0s")...)
	p.mustPost("/api/v1/events", lines[:half])
	if _, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || !strings.Contains(string(body), `"rows"`) {
		t.Fatalf("%s %v", body, err)
	}
	const kills = 12
	for i := range kills {
		p.mustPost("/api/v1/events", lines[half+i*(len(lines)-half)/kills:half+(i+1)*(len(lines)-half)/kills])
		cmd := exec.Command(bin, "backup", dest, "--storage.path="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.NewTimer(time.Duration(5+i*i*2) * time.Millisecond)
		<-after.C
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // of course it was killed
		sealedWhole(t, dest)
		_, body := p.get("/healthz")
		if strings.Contains(string(body), "cannot store") {
			t.Fatalf("a backup disturbs the daemon: %s", body)
		}
	}
	before := len(merged(t, lines))
	if out := tool(t, "backup", dest, "--storage.path="+dir); !strings.Contains(out, "days linked") {
		t.Error(out)
	}
	want := p.walk("")
	if len(want) != before {
		t.Errorf("%d invocations of %d", len(want), before)
	}
	answersAs(t, "beside a daemon", dest, want)
	p.quit()
	tool(t, "backup", dest, "--storage.path="+dir)
	answersAs(t, "without one", dest, want)
	if out := tool(t, "backup", dest, "--storage.path="+dir); !strings.Contains(out, " 0 days linked, 0 copied") {
		t.Errorf("unchanged days are taken again: %s", out)
	}
	verified(t, dir)
}

// TestSnapshotEndpoint has a snapshot served while the daemon goes on.
func TestSnapshotEndpoint(t *testing.T) {
	t.Parallel()
	today := thisDay(t)
	dir := t.TempDir()
	lines := spread(t, capture(t), today)
	p := serve(t, dir, append(anyTime, "--head.settle=0s", "--head.open-timeout=36500d", "--seal.delay=0s", "--head.cut-interval=1h")...)
	p.mustPost("/api/v1/events", lines[:len(lines)/2])
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	p.mustPost("/api/v1/events", lines[len(lines)/2:]) // stays in the head
	want := p.walk("")
	code, body, err := p.do(http.MethodPost, "/api/v1/admin/snapshot", nil)
	var s struct {
		Path  string
		Files []string
	}
	if err != nil || code != http.StatusOK || json.Unmarshal(body, &s) != nil || !strings.HasPrefix(s.Path, "snapshots/2") {
		t.Fatalf("%d %s %v", code, body, err)
	}
	for _, name := range s.Files {
		if _, err := os.Stat(filepath.Join(dir, s.Path, name)); err != nil {
			t.Error(err)
		}
	}
	p.mustPost("/api/v1/invocations", [][]byte{[]byte(`{"task_id":"later","finished_at":1795435200}`)})
	answersAs(t, "snapshot", filepath.Join(dir, s.Path), want)
	p.quit()
	verified(t, dir)
}

// TestBackupRefused has each mistake named, with nothing done.
func TestBackupRefused(t *testing.T) {
	t.Parallel()
	dir, full := t.TempDir(), t.TempDir()
	serve(t, dir).quit()
	if err := os.WriteFile(filepath.Join(full, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := "--storage.path=" + dir
	for args, want := range map[string]string{
		"backup " + at:                                         "dest",
		"backup " + at + " " + dir + "/backup":                 "is inside",
		"backup " + at + " " + full:                            "not empty",
		"backup --storage.path=" + full + "/nope /x/y":         "nope",
		"backup --storage.path=" + full + " " + t.TempDir():    "no data directory",
		"retention " + at:                                      "--dry-run",
		"retention --dry-run --retention.size=1KiB " + at:      "--retention.size",
		"retention --dry-run --retention.disk-usage=101 " + at: "--retention.disk-usage",
	} {
		out, errOut, code := command(t, nil, strings.Fields(args)...)
		if code != 2 || !strings.Contains(errOut, want) {
			t.Errorf("daybook %s: exit code %d\n%s%s", args, code, out, errOut)
		}
	}
	if got := filesOf(t, full); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "backup")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// TestRetentionTool plans beside a daemon that keeps everything.
func TestRetentionTool(t *testing.T) {
	t.Parallel()
	today := thisDay(t)
	dir := t.TempDir()
	at := "--storage.path=" + dir
	p := serve(t, dir, append(anyTime, "--head.settle=0s", "--seal.delay=0s")...)
	if out := tool(t, "retention", "--dry-run", at); !strings.Contains(out, "nothing would be deleted now") || !strings.Contains(out, "not known") {
		t.Error(out)
	}
	p.mustPost("/api/v1/events", spread(t, capture(t), today))
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	out := tool(t, "retention", "--dry-run", "--retention.time=3d", at)
	for d := today - 6; d < today; d++ {
		if got := strings.Contains(out, d.String()+"  age"); got != (d < today-3) {
			t.Errorf("%s goes: %v\n%s", d, got, out)
		}
	}
	if !strings.Contains(out, (today-3).String()+" (events before it are refused)") || !strings.Contains(out, "from the last 6 days") {
		t.Error(out)
	}
	var plan struct {
		WouldGo []struct {
			Day, Cause string
			Bytes      int64
		} `json:"would_go"`
		Floor       string
		BytesPerDay int64 `json:"bytes_per_day"`
		Bytes       int64
	}
	text := tool(t, "retention", "--dry-run", "--retention.time=3d", "--json", at)
	if err := json.Unmarshal([]byte(text), &plan); err != nil || len(plan.WouldGo) != 3 || plan.WouldGo[0].Bytes == 0 || plan.BytesPerDay == 0 || plan.Floor != (today-3).String() {
		t.Errorf("%v %s", err, text)
	}
	if got := len(filesOf(t, filepath.Join(dir, "days"))); got != 12 {
		t.Errorf("%d files are left", got)
	}
	p.quit()
}
