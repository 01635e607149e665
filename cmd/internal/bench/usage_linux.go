package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu     time.Duration
	rss     int64 // bytes, now
	written int64 // bytes that it caused to be written to the disk
}

// knowsUsage says that there is a /proc.
const knowsUsage = true

// tick is the unit of times in /proc, the same on every Linux that Go runs on.
const tick = time.Second / 100

// usageOf reads /proc; pid 0 is this process.
func usageOf(pid int) (u usage) {
	dir := "/proc/self"
	if pid != 0 {
		dir = fmt.Sprintf("/proc/%d", pid)
	}
	stat, _ := os.ReadFile(filepath.Join(dir, "stat")) // what cannot be read counts as 0
	if i := bytes.LastIndexByte(stat, ')'); i >= 0 {   // behind the name
		if f := strings.Fields(string(stat[i+1:])); len(f) > 21 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			pages, _ := strconv.ParseInt(f[21], 10, 64)
			u.cpu, u.rss = time.Duration(user+system)*tick, pages*int64(os.Getpagesize())
		}
	}
	io, _ := os.ReadFile(filepath.Join(dir, "io"))
	for line := range strings.Lines(string(io)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			u.written, _ = strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return u
}

// writtenBy is what a process that has ended caused to be written to the disk.
func writtenBy(p *os.ProcessState) int64 {
	u, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return u.Oublock * 512
}

// inMemory reports whether a directory is of a file system that has no disk.
func inMemory(dir string) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return err == nil && (uint32(st.Type) == tmpfs || uint32(st.Type) == ramfs)
}

// apart keeps the terminal's Ctrl-C from a process.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
