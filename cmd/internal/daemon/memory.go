package daemon

import (
	"os"
	"runtime/debug"

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
	limit := headMaxBytes + filterBytes + memoryRoom
	debug.SetMemoryLimit(limit)
	level.Info(logger).Log("msg", "memory limit set from the caps, as GOMEMLIMIT is not set", "bytes", limit, "limit", units.FormatSize(limit))
}
