package daemon

import (
	"bufio"
	"bytes"
	"context"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"daybook/cmd/internal/units"
)

// memoryRoom is what the process needs beside the head and the id filters:
// requests, queries, cuts, and the garbage of all of them.
const memoryRoom = 160 << 20

// filterTick is how often the limit follows the id filters, which come and go
// with days.
const filterTick = 30 * time.Second

// memory sets the soft limit of the Go heap from the caps that were asked for,
// unless the environment says otherwise: with the default pace of the
// collector, a heap may otherwise grow to twice what is alive.
type memory struct {
	logger  log.Logger
	head    int64 // cap in bytes
	filters func() int64
	most    int64 // what the control group allows
	limit   int64 // in force
}

// newMemory returns nil if there is nothing to set.
func newMemory(logger log.Logger, headMaxBytes int64, filters func() int64) *memory {
	if s := os.Getenv("GOMEMLIMIT"); s != "" {
		level.Info(logger).Log("msg", "memory limit taken from the environment", "GOMEMLIMIT", s)
		return nil
	}
	m := &memory{logger: logger, head: headMaxBytes, filters: filters, most: cgroupLimit(cgroupRoot, selfCgroup)}
	from := m.set()
	level.Info(logger).Log("msg", "memory limit set, as GOMEMLIMIT is not", "from", from, "bytes", m.limit, "limit", units.FormatSize(m.limit))
	if m.most < headMaxBytes+memoryRoom/2 {
		level.Warn(logger).Log("msg", "the control group leaves too little memory for --head.max-bytes: lower it, or give the group more",
			"head_max_bytes", headMaxBytes, "allowed_bytes", m.most)
	}
	return m
}

// set works the limit out, and says what it comes from.
func (m *memory) set() (from string) {
	const mib = 1 << 20
	limit, from := (m.head+m.filters()+memoryRoom+mib-1)/mib*mib, "caps"
	if m.most < limit {
		limit, from = m.most, "cgroup"
	}
	if limit != m.limit {
		m.limit = limit
		debug.SetMemoryLimit(limit)
	}
	return from
}

// run follows the id filters.
func (m *memory) run(ctx context.Context) error {
	tick := time.NewTicker(filterTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.set()
		}
	}
}

// Where the kernel tells the limits of control groups.
const (
	cgroupRoot = "/sys/fs/cgroup"
	selfCgroup = "/proc/self/cgroup"
)

// cgroupLimit is nine tenths of what the process' control group, or one around
// it, may use; the rest is for SQLite's caches, which Go does not count.
// math.MaxInt64 if nobody says. Version 1 keeps memory in a tree of its own.
func cgroupLimit(root, self string) int64 {
	return min(
		leastLimit(root, ownCgroup(self, "0:"), "memory.max"),
		leastLimit(filepath.Join(root, "memory"), ownCgroup(self, "memory"), "memory.limit_in_bytes"))
}

// leastLimit looks from a group up to the root.
func leastLimit(root, dir, file string) int64 {
	limit := int64(math.MaxInt64)
	for ; ; dir = path.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(root, dir, file))
		if n, parseErr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && parseErr == nil && n > 0 && n < noLimit {
			limit = min(limit, n/10*9)
		}
		if dir == "/" {
			return limit
		}
	}
}

// noLimit and more is how version 1 says that there is none.
const noLimit = 1 << 60

// ownCgroup is the path of the process' control group below the root of a
// tree: the one of a controller, or with "0:" the one of version 2.
func ownCgroup(self, tree string) string {
	b, err := os.ReadFile(self)
	if err != nil {
		return "/" // as in a container, which sees its own group as the root
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		number, rest, _ := strings.Cut(lines.Text(), ":")
		controllers, dir, _ := strings.Cut(rest, ":")
		if number+":"+controllers == tree || slices.Contains(strings.Split(controllers, ","), tree) {
			return path.Join("/", dir)
		}
	}
	return "/"
}
