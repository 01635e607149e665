package main_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stallingDisk is a file system of its own that can be made to stand still:
// whoever writes then waits, in the kernel, as for a disk that does not answer.
type stallingDisk struct {
	t   *testing.T
	dir string
}

// ioctls of <linux/fs.h>.
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// newStallingDisk returns nil where there can be none: it takes root, loop
// devices and mkfs.ext4.
func newStallingDisk(t *testing.T, size string) *stallingDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	base := t.TempDir()
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"truncate", "-s", size, image}, {"mkfs.ext4", "-q", "-E", "lazy_itable_init=1", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Logf("no disk that can stall: %s: %v %s", args[0], err, out)
			return nil
		}
	}
	d := &stallingDisk{t, dir}
	t.Cleanup(func() {
		_ = d.ioctl(fiThaw) // most likely it is not frozen
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return d
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

func (d *stallingDisk) must(request uintptr) {
	d.t.Helper()
	if err := d.ioctl(request); err != nil {
		d.t.Errorf("ioctl %x: %v", request, err)
	}
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
		d.must(fiFreeze)
		pause(250 * time.Millisecond)
		d.must(fiThaw)
		pause(750 * time.Millisecond)
	}
}

// TestStall lets the disk stand still for longer than anybody waits: requests
// are refused in time, queries go on, health and a gap say why, memory stays,
// and what was acknowledged is there when the disk goes on. Where no disk can be
// made to, only the files of days stand still.
func TestStall(t *testing.T) {
	if testing.Short() {
		t.Skip("needs more time than a short run has")
	}
	t.Parallel()
	dir, disk := t.TempDir(), newStallingDisk(t, "256M")
	if disk != nil {
		dir = disk.dir + "/data"
	}
	p := serve(t, dir, "--head.cut-interval=200ms", "--head.settle=0s", "--retention.disk-usage=0")
	l := &load{details: 500}
	l.run(t, p, 4, 20, 200)
	var goOn func()
	if disk != nil {
		disk.must(fiFreeze)
		goOn = func() { disk.must(fiThaw) }
	} else {
		goOn = holdLive(t, dir)
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			client := &http.Client{Timeout: time.Minute}
			for !closed(stop) {
				if _, err := l.send(p, client, 200, stop); err != nil {
					t.Errorf("the load: %v", err)
					return
				}
			}
		})
	}
	if disk != nil {
		eventually(t, "health says that the disk stands still", func() error {
			h, code := p.health()
			if code != http.StatusServiceUnavailable || !strings.Contains(strings.Join(h.Reasons, ";"), "does not answer") {
				return fmt.Errorf("%d %+v", code, h)
			}
			return nil
		})
		eventually(t, "requests are refused", func() error { return wants(l.refused.Load() > 20) })
	}
	for _, path := range []string{"/-/healthy", "/-/ready", "/metrics", "/api/v1/invocations/load-1", "/api/v1/status/flags"} {
		if code, body := p.get(path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if f := p.figures(); f.rss > soakRSS {
		t.Errorf("%d bytes resident", f.rss)
	}
	goOn()
	eventually(t, "it is well again", func() error {
		h, code := p.health()
		if code != http.StatusOK || h.Status != "ok" {
			return fmt.Errorf("%d %+v", code, h)
		}
		return nil
	})
	close(stop)
	writers.Wait()
	if slowest := time.Duration(l.slowest.Load()); slowest > 25*time.Second {
		t.Errorf("an answer took %s", slowest)
	}
	stored, acked := int64(len(p.walk("details=false"))), l.accepted.Load()
	if stored < acked || stored > l.next.Load() {
		t.Errorf("%d acknowledged, %d sent, %d stored", acked, l.next.Load(), stored)
	}
	if disk != nil {
		if _, page := p.get("/api/v1/invocations?limit=1"); !strings.Contains(string(page), "disk stalled") {
			t.Errorf("no gap: %s", page)
		}
	}
	p.quit()
	verified(t, dir)
}
