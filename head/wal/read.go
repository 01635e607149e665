package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// readTries bounds how often Read begins again. A writer would have to publish as many
// checkpoints while it reads.
const readTries = 10

// Read is for tools that run beside a daemon: it calls fn for what Replay would call it for, and
// changes nothing. When the daemon's checkpoint takes files away meanwhile, it calls reset and
// begins again; the caller forgets what fn was given. What it sees is the log as it was at some
// instant, or, behind that, a prefix of a batch that is just being written.
//
// It returns the first error of fn, a *VersionError, an error that is fs.ErrNotExist if dir is
// missing, or an error if the directory did not hold still long enough.
func Read(dir string, reset func(), fn func(rec []byte) error) (ReplayStats, error) {
	return read(osFS{}, dir, reset, fn)
}

func read(fsys FS, dir string, reset func(), fn func(rec []byte) error) (ReplayStats, error) {
	if _, err := fsys.ReadDir(dir); err != nil {
		return ReplayStats{}, fmt.Errorf("wal: listing: %w", err)
	}
	var missed string
	for try := 1; ; try++ {
		st, missing, err := readOnce(fsys, dir, fn)
		switch {
		case err == nil && (missing == "" || missing == missed || try == readTries):
			return st, nil // what was missing in the same way before is missing for good
		case err != nil && !errors.Is(err, errVanished):
			return st, err
		case try == readTries:
			return st, fmt.Errorf("wal: in %d attempts to read: %w", try, err)
		}
		missed = missing
		if reset != nil {
			reset()
		}
	}
}

// errVanished is a file that was listed and is not there any more.
var errVanished = errors.New("a file was taken away")

// readOnce also says which files others refer to and are not listed. They may have gone while the
// directory was read, and then there is a new checkpoint that the listing does not show.
func readOnce(fsys FS, dir string, fn func(rec []byte) error) (st ReplayStats, missing string, err error) {
	var fnErr error
	inv, err := list(fsys, dir)
	if err == nil {
		l := &loader{ctx: context.Background(), fs: fsys, dir: dir, inv: inv, fn: func(rec []byte) error {
			err := fn(rec)
			if fnErr = err; errors.Is(err, ErrNotUnderstood) {
				fnErr = nil // it ends nothing
			}
			return err
		}}
		err = l.load()
		st = l.stats
	}
	if err != nil {
		if fnErr == nil && errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errVanished, err)
		}
		return st, "", err
	}
	for _, h := range inv.missing(st.Checkpoint) {
		missing += segmentName(h.number) + " "
	}
	return st, missing, nil
}
