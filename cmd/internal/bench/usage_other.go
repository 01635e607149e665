//go:build !linux

package bench

import (
	"syscall"
	"time"
)

// usage is not known here: figures that need it are left out.
type usage struct {
	cpu          time.Duration
	rss, written int64
}

func usageOf(int) usage { return usage{} }

func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
