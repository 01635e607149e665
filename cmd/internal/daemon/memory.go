package daemon

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"daybook/cmd/internal/units"
)

// memoryRoom is what the process needs beside the head and the id filters:
// queries, cuts, and the garbage of all of them.
const memoryRoom = 256 << 20

// limitMemory sets the soft limit of the Go heap from the caps that were
// asked for, unless the environment says otherwise: with the default pace of
// the collector, a heap may otherwise grow to twice what is alive.
func limitMemory(logger log.Logger, headMaxBytes, filterBytes int64) {
	if s := os.Getenv("GOMEMLIMIT"); s != "" {
		level.Info(logger).Log("msg", "memory limit taken from the environment", "GOMEMLIMIT", s)
		return
	}
	limit, from := headMaxBytes+filterBytes+memoryRoom, "caps"
	if most := cgroupLimit(cgroupRoot, selfCgroup); most < limit {
		limit, from = most, "cgroup"
	}
	debug.SetMemoryLimit(limit)
	level.Info(logger).Log("msg", "memory limit set, as GOMEMLIMIT is not", "from", from, "bytes", limit, "limit", units.FormatSize(limit))
}

// Where the kernel tells the limits of control groups, version 2.
const (
	cgroupRoot = "/sys/fs/cgroup"
	selfCgroup = "/proc/self/cgroup"
)

// cgroupLimit is nine tenths of what the process' control group, or one around
// it, may use; the rest is for SQLite's caches, which Go does not count.
// math.MaxInt64 if nobody says.
func cgroupLimit(root, self string) int64 {
	limit := int64(math.MaxInt64)
	for dir := ownCgroup(self); ; dir = path.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(root, dir, "memory.max"))
		if n, parseErr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && parseErr == nil && n > 0 {
			limit = min(limit, n/10*9)
		}
		if dir == "/" {
			return limit
		}
	}
}

// ownCgroup is the path of the process' control group below the root.
func ownCgroup(self string) string {
	b, err := os.ReadFile(self)
	if err != nil {
		return "/" // as in a container, which sees its own group as the root
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if dir, ok := strings.CutPrefix(lines.Text(), "0::"); ok {
			return path.Join("/", dir)
		}
	}
	return "/"
}
