package main_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("daybook-test", dir, "tmpfs", 0, "size="+size+",mode=755"); err != nil {
		t.Skipf("needs a kernel that lets root mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// bulky are invocations of some day whose details do not compress.
func bulky(r *rand.Rand, day task.Day, from, n int) [][]byte {
	lines := make([][]byte, n)
	noise := make([]byte, 1504)
	for i := range lines {
		for j := 0; j < len(noise); j += 8 {
			binary.LittleEndian.PutUint64(noise[j:], r.Uint64())
		}
		at := day.Start() + int64(from+i)*1000
		lines[i] = fmt.Appendf(nil, `{"task_id":"%s-%d","task_name":"bulk","finished_at":%s,"result":"%s"}`,
			day, from+i, task.AppendSeconds(nil, at), base64.StdEncoding.EncodeToString(noise))
	}
	return lines
}

// health is what /healthz answers.
type health struct {
	Status  string
	Reasons []string
	Dropped int64   `json:"dropped_total"`
	Usage   float64 `json:"disk_usage_pct"`
}

func (p *process) health() (h health, code int) {
	p.t.Helper()
	code, body := p.get("/healthz")
	if err := json.Unmarshal(body, &h); err != nil {
		p.t.Fatalf("%s: %v", body, err)
	}
	return h, code
}

// smallFlags are those of a daemon that has 64 MB for everything.
var smallFlags = []string{"--retention.time=0", "--ingest.max-past=36500d", "--head.cut-interval=200ms", "--head.settle=0s", "--seal.delay=0s",
	"--wal.max-bytes=4MiB", "--head.max-bytes=8MiB"}

// TestSmallDisk fills a disk twice over, day after day: the daemon stays up, deletes
// the oldest days by itself, keeps the newest, and nothing is damaged.
func TestSmallDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("needs more time than a short run has")
	}
	t.Parallel()
	dir := smallDisk(t, "64m")
	today := thisDay(t)
	p := serve(t, dir, append(smallFlags, "--retention.disk-usage=80")...)
	const days, perDay, piece = 18, 4000, 1000 // 6 MB of details a day
	r := rand.New(rand.NewPCG(1, 1))
	refused := 0
	for d := today - days + 1; d <= today; d++ {
		for from := 0; from < perDay; from += piece {
			lines := bulky(r, d, from, piece)
			send := func(lines [][]byte) error {
				code, body, err := p.do(http.MethodPost, "/api/v1/invocations", joinLines(lines))
				if err != nil {
					t.Fatalf("the daemon is gone: %v", err)
				}
				if code != http.StatusOK {
					refused++
					return fmt.Errorf("%d %s", code, body)
				}
				if !strings.HasPrefix(string(body), fmt.Sprintf(`{"accepted":%d,"ignored":0,"rejected":0,"dropped":0`, len(lines))) {
					t.Errorf("%s: %s", d, body)
				}
				return nil
			}
			for send(lines) != nil { // then the first one again and again, which is cheap, until there is room
				eventually(t, "the daemon takes it", func() error { return send(lines[:1]) })
			}
		}
	}
	t.Logf("%d requests were refused for a while", refused)
	// The newest is there: today, and the day before it.
	for d := today - 1; d <= today; d++ {
		query := fmt.Sprintf("details=false&from=%d&to=%d", d.Start()/1e6, d.End()/1e6)
		if got := len(p.walk(query)); got != perDay {
			t.Errorf("%d invocations of %s, want %d", got, d, perDay)
		}
	}
	eventually(t, "it is well again", func() error {
		h, code := p.health()
		if code != http.StatusOK || h.Usage > 80 {
			return fmt.Errorf("%d %+v", code, h)
		}
		return nil
	})
	if h, _ := p.health(); h.Dropped > 0 {
		t.Errorf("%d were dropped", h.Dropped)
	}
	verified(t, dir) // while the last day may still be sealed
	p.quit()
	verified(t, dir)
	p = serve(t, dir, append(smallFlags, "--retention.disk-usage=80")...)
	if code, _ := p.get(fmt.Sprintf("/api/v1/invocations/%s-%d", today, perDay-1)); code != http.StatusOK {
		t.Errorf("the newest is gone after a restart: %d", code)
	}
	p.quit()
}

func joinLines(lines [][]byte) (body []byte) {
	for _, l := range lines {
		body = append(append(body, l...), '\n')
	}
	return body
}

// TestTodayTooBig has today alone fill the disk: nothing can be deleted, so
// that requests are refused, health says why, what was acknowledged stays, and
// with room it goes on.
func TestTodayTooBig(t *testing.T) {
	if testing.Short() {
		t.Skip("needs more time than a short run has")
	}
	t.Parallel()
	dir := smallDisk(t, "64m")
	today := thisDay(t)
	filler := dir + "/somebody-elses"
	if err := os.WriteFile(filler, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, dir, append(smallFlags, "--retention.disk-usage=80")...)
	r := rand.New(rand.NewPCG(1, 2))
	acked, refused := 0, 0
	for n := 0; refused < 20; n++ {
		code, body, err := p.do(http.MethodPost, "/api/v1/invocations", joinLines(bulky(r, today, n*200, 200)))
		switch {
		case err != nil:
			t.Fatalf("the daemon is gone: %v", err)
		case code == http.StatusOK && strings.Contains(string(body), `"accepted":200`):
			acked++
		case code == http.StatusServiceUnavailable:
			refused++
		default:
			t.Fatalf("%d %s", code, body)
		}
		if n > 1000 {
			t.Fatalf("%d requests of 0.4 MB were taken by a disk of 64 MB", acked)
		}
	}
	h, code := p.health()
	t.Logf("%d requests taken; health: %d %+v", acked, code, h)
	if code != http.StatusServiceUnavailable || h.Status != "degraded" || !strings.Contains(strings.Join(h.Reasons, ";"), "full") {
		t.Errorf("health does not say so: %d %+v", code, h)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it takes requests again", func() error {
		return p.post("/api/v1/invocations", [][]byte{[]byte(fmt.Sprintf(`{"task_id":"again","finished_at":%d}`, time.Now().Unix()))})
	})
	eventually(t, "it is well again", func() error {
		if h, code := p.health(); code != http.StatusOK {
			return fmt.Errorf("%d %+v", code, h)
		}
		return nil
	})
	if h, _ := p.health(); h.Dropped == 0 {
		if got := len(p.walk("details=false")); got < acked*200 {
			t.Errorf("%d invocations are there, %d were acknowledged, none is counted as dropped", got, acked*200)
		}
	}
	verified(t, dir)
	p.quit()
	verified(t, dir)
}

// diskOf is the size of a file system and what is in use, in bytes.
func diskOf(t *testing.T, dir string) (size, used int64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	used = int64(st.Blocks-st.Bfree) * st.Bsize
	return used + int64(st.Bavail)*st.Bsize, used
}
