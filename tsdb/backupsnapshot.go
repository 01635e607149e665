package tsdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/compact"
	"daybook/tsdb/fault"
)

// Snapshot is a copy of the data directory under snapshots/.
type Snapshot struct {
	Path  string   // relative to the data directory
	Files []string // relative to Path
	// Unreadable are the files of the data directory that it lacks, because they
	// are not understood, relative to the data directory.
	Unreadable []string
}

// Snapshot makes a data directory of everything there is at one moment:
// snapshots/20261123T101500Z. Sealed days are hard links, live files are
// copied, and what the head holds becomes a log. Nothing waits for it but the
// cutter, for the moment in which the files are taken hold of. When it fails,
// or ctx ends, it leaves nothing.
func (db *DB) Snapshot(ctx context.Context) (s Snapshot, err error) {
	if db.readOnly {
		return s, ErrReadOnly
	}
	db.running.Add(1)
	defer db.running.Done()
	if err := db.usable(); err != nil {
		return s, err
	}
	stage, err := mkdirTemp(filepath.Join(db.opts.Dir, "tmp"), "snapshot-")
	if err != nil {
		return s, fmt.Errorf("making a snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("making a snapshot: %w", err), compact.RemoveAll(stage))
		}
	}()
	unreadable, err := db.fillSnapshot(ctx, stage)
	if err != nil {
		return s, err
	}
	for name, err := range unreadable {
		level.Error(db.logger).Log("msg", "a file is left out of the snapshot", "path", name, "err", err)
	}
	s.Unreadable = slices.Sorted(maps.Keys(unreadable))
	if s.Files, err = filesUnder(stage); err != nil {
		return s, err
	}
	s.Path, err = db.publishSnapshot(stage)
	return s, err
}

// mkdirTemp is that of package os.
func mkdirTemp(dir, pattern string) (string, error) {
	if err := fault.Op("mkdir", filepath.Join(dir, pattern)); err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, pattern)
}

// fillSnapshot returns what is left out, and why.
func (db *DB) fillSnapshot(ctx context.Context, stage string) (unreadable map[string]error, err error) {
	if err := fault.Op("chmod", stage); err != nil {
		return nil, err
	}
	if err := os.Chmod(stage, 0o755); err != nil {
		return nil, err
	}
	var head headState
	k, err := db.compact.Capture(ctx, compact.CaptureTo{Dir: stage}, func() { head = db.headState() })
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if err := k.Copy(ctx, false, nil); err != nil {
		return nil, err
	}
	fault.Point("snapshot.copied")
	if err := head.writeLog(ctx, filepath.Join(stage, "wal"), db.headOptions()); err != nil {
		return nil, err
	}
	if err := writeCopiedLock(filepath.Join(stage, "LOCK"), db.opts.Now()); err != nil {
		return nil, err
	}
	unreadable = db.compact.Unreadable() // at the start; what was met since
	maps.Copy(unreadable, k.Unreadable())
	return unreadable, blocks.SyncDir(stage)
}

// publishSnapshot gives a finished one its name, the time; the second one of
// that second gets a number.
func (db *DB) publishSnapshot(stage string) (rel string, err error) {
	fault.Point("snapshot.whole")
	dir := filepath.Join(db.opts.Dir, "snapshots")
	if err := compact.MkdirAll(dir); err != nil {
		return "", err
	}
	name := db.opts.Now().UTC().Format(compact.SnapshotTime)
	for n := 1; ; n++ {
		rel = filepath.Join("snapshots", name)
		if n > 1 {
			rel += fmt.Sprintf("-%d", n)
		}
		err := rename(stage, filepath.Join(db.opts.Dir, rel)) // refused if there is one
		if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
			continue
		}
		if err == nil {
			fault.Point("snapshot.named")
			err = errors.Join(blocks.SyncDir(dir), blocks.SyncDir(db.opts.Dir))
		}
		return rel, err
	}
}

// filesUnder lists the files of a directory, in order.
func filesUnder(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, filepath.ToSlash(rel))
		return err
	})
	slices.Sort(files)
	return files, err
}
