package compact

import (
	"context"
	"errors"
	"os"
	"syscall"

	"daybook/blocks"
)

// walFile is a live file or the one of parked invocations.
type walFile interface {
	Checkpoint(ctx context.Context) error
}

// walFiles are the files with a WAL, by path.
func (c *Compactor) walFiles() map[string]walFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]walFile{}
	for _, x := range c.days {
		if x.live != nil {
			out[x.live.Path()] = x.live
		}
	}
	if c.parked != nil {
		out[c.parked.Path()] = c.parked
	}
	return out
}

// WALBytes is what the WALs of the live files take up: as much may be needed
// again to move their content into the files.
func (c *Compactor) WALBytes() (sum int64) {
	for path := range c.walFiles() {
		sum += walBytes(path)
	}
	return sum
}

func walBytes(path string) int64 {
	fi, err := os.Lstat(path + "-wal")
	if err != nil {
		return 0
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Blocks * 512
}

// Tighten moves what the WALs of the live files hold into the files and gives
// their room back. It needs some room itself: call it before there is none.
func (c *Compactor) Tighten(ctx context.Context) error {
	var errs []error
	for path, f := range c.walFiles() {
		if walBytes(path) == 0 {
			continue
		}
		err := f.Checkpoint(ctx)
		if errors.Is(err, blocks.ErrFileClosed) || errors.Is(err, blocks.ErrCheckpoint) {
			continue // it is being retired, or read: another time
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
