package main_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var stallFor = flag.Duration("stall", 0, "how long at least TestStall lets the disk stand still")

// stallingDisk is a file system of its own that can be made to stand still:
// whoever writes then waits, in the kernel, as for a disk that does not answer.
type stallingDisk struct {
	t     *testing.T
	dir   string
	probe chan struct{} // closed when something was written since it was frozen

	rounds int // of stutter
	stood  time.Duration
}

// ioctls of <linux/fs.h>.
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// newStallingDisk says why where there can be none.
func newStallingDisk(t *testing.T, size string) (*stallingDisk, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("only root mounts one")
	}
	base := t.TempDir()
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"truncate", "-s", size, image}, {"mkfs.ext4", "-q", "-E", "lazy_itable_init=1", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w %s", args[0], err, out)
		}
	}
	d := &stallingDisk{t: t, dir: dir}
	t.Cleanup(func() {
		_ = d.ioctl(fiThaw) // most likely it is not frozen
		if d.probe != nil {
			<-d.probe
		}
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return d, nil
}

func (d *stallingDisk) ioctl(request uintptr) error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, 0); errno != 0 {
		return errno
	}
	return nil
}

// freeze lets the disk stand still, and tries to write to it.
func (d *stallingDisk) freeze() {
	d.t.Helper()
	if err := d.ioctl(fiFreeze); err != nil {
		d.t.Errorf("freeze: %v", err)
	}
	d.probe = make(chan struct{})
	go func() {
		defer close(d.probe)
		if err := os.WriteFile(filepath.Join(d.dir, "probe"), []byte("x"), 0o600); err != nil {
			d.t.Errorf("the probe: %v", err)
		}
	}()
}

// thaw lets it go on, and wants it to have stood still.
func (d *stallingDisk) thaw() {
	d.t.Helper()
	if closed(d.probe) {
		d.t.Error("the disk did not stand still: something was written")
	}
	if err := d.ioctl(fiThaw); err != nil {
		d.t.Errorf("thaw: %v", err)
	}
	<-d.probe
}

// stutter lets the disk stand still a quarter of the time.
func (d *stallingDisk) stutter(stop <-chan struct{}) {
	pause := func(for_ time.Duration) {
		timer := time.NewTimer(for_)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-stop:
		}
	}
	for !closed(stop) {
		d.freeze()
		from := time.Now()
		pause(250 * time.Millisecond)
		d.rounds++
		d.stood += time.Since(from)
		d.thaw()
		pause(750 * time.Millisecond)
	}
}

// smallQueries are what a page asks; each of it may need the disk: SQLite marks in
// the -shm what is read.
var smallQueries = []string{"/api/v1/invocations/load-1", "/api/v1/invocations?limit=50&details=false", "/api/v1/invocations?task_name=load.t3&limit=20",
	"/api/v1/count?by=state", "/api/v1/count?by=task_name&state=SUCCESS&from=-1h", "/api/v1/tasks", "/api/v1/tasks/load.t3?from=-1h", "/api/v1/tasks/load.t3/series?step=60&from=-1h"}

// answersQueries asks all of smallQueries at once, and wants each to be answered in
// time and in one of some ways. With 200 alone it asks again, as long as there is time,
// what was refused because too many ask.
func (p *process) answersQueries(within time.Duration, codes ...int) {
	p.t.Helper()
	var wg sync.WaitGroup
	for _, path := range smallQueries {
		wg.Go(func() {
			client := &http.Client{Timeout: within}
			for end := time.Now().Add(within); ; {
				resp, err := client.Get(p.url + path)
				if err != nil {
					p.t.Errorf("%s: no answer: %v", path, err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				switch {
				case err != nil:
					p.t.Errorf("%s: half an answer: %v", path, err)
				case slices.Contains(codes, resp.StatusCode):
				case (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusGatewayTimeout) && time.Now().Before(end):
					<-time.After(50 * time.Millisecond)
					continue
				default:
					p.t.Errorf("%s: %d %.300s", path, resp.StatusCode, body)
				}
				return
			}
		})
	}
	wg.Wait()
}

// TestStall lets the disk stand still for longer than anybody waits: requests
// are refused in time and nothing is acknowledged, queries answer or give up at
// their timeout, health and a gap say why, memory stays, and when the disk goes on every record that was
// sent is stored, dropped or rejected.
func TestStall(t *testing.T) {
	if testing.Short() {
		t.Skip("needs more time than a short run has")
	}
	t.Parallel()
	disk, err := newStallingDisk(t, "1G")
	if err != nil {
		t.Skipf("needs a disk that can be made to stand still: %v", err)
	}
	dir := disk.dir + "/data"
	p := serve(t, dir, "--head.cut-interval=200ms", "--head.settle=0s", "--retention.disk-usage=0", "--query.timeout=2s")
	l := &load{details: 500}
	l.run(t, p, 4, 20, 200)
	const clients = 64

	stop := make(chan struct{})
	var writers sync.WaitGroup
	rss := p.watch()
	disk.freeze()
	frozen := time.Now()
	goOn := sync.OnceFunc(disk.thaw)
	end := sync.OnceFunc(func() {
		goOn()
		close(stop)
		writers.Wait()
	})
	t.Cleanup(end) // a daemon that waits for the disk cannot be killed
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	for range clients {
		writers.Go(func() {
			for !closed(stop) { // what is refused is sent again until it is taken
				if _, err := l.send(p, client, 400, nil); err != nil {
					t.Errorf("the load: %v", err)
					return
				}
			}
		})
	}
	before := l.accepted.Load()
	stands := func() error {
		h, code := p.health()
		if code != http.StatusServiceUnavailable || !strings.Contains(strings.Join(h.Reasons, ";"), "does not answer") {
			return fmt.Errorf("%d %+v", code, h)
		}
		return nil
	}
	eventually(t, "health says that the disk stands still", stands)
	eventually(t, "requests are refused", func() error { return wants(l.refused.Load() > 2*clients) })
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for again := true; again; again = time.Since(frozen) < *stallFor {
		<-tick.C
		for _, path := range []string{"/-/healthy", "/-/ready", "/metrics", "/api/v1/status/flags"} {
			if code, body := p.get(path); code != http.StatusOK {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
		p.answersQueries(2*time.Second+5*time.Second, http.StatusOK, http.StatusGatewayTimeout, http.StatusTooManyRequests)
		if err := stands(); err != nil {
			t.Error(err)
		}
	}
	if n := l.accepted.Load() - before; n > 0 {
		t.Errorf("%d lines were acknowledged while nothing could be written", n)
	}
	held := time.Since(frozen).Round(time.Second)
	goOn()
	eventually(t, "it is well again", func() error {
		h, code := p.health()
		if code != http.StatusOK || h.Status != "ok" {
			return fmt.Errorf("%d %+v", code, h)
		}
		return nil
	})
	p.answersQueries(patience, http.StatusOK)
	end()
	samples := rss()
	t.Logf("stood still for %s; RSS at most %d MiB in %d samples", held, slices.Max(samples)>>20, len(samples))
	if most := slices.Max(samples); most > soakRSS {
		t.Errorf("%d MiB resident, more than %d", most>>20, soakRSS>>20)
	}
	if slowest := time.Duration(l.slowest.Load()); slowest > slowestAnswer {
		t.Errorf("an answer took %s", slowest)
	}
	h, _ := p.health()
	l.balance(p, h.Dropped)
	if gaps, _ := p.gaps("refused: disk stalled"); gaps == 0 {
		t.Error("there is no gap")
	}
	p.quit()
	verified(t, dir)
}
