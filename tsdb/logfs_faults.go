//go:build faults

package tsdb

import (
	"io/fs"
	"path/filepath"
	"strings"

	"daybook/head/wal"
	"daybook/tsdb/fault"
)

// logFS is where the log is, with its operations reported.
var logFS wal.FS = reportedFS{wal.OS}

type reportedFS struct{ wal.FS }

// at is a point after an operation that went well, for segments or checkpoints.
func at(path string, err error, segment, checkpoint string) error {
	if err != nil {
		return err
	}
	if strings.HasPrefix(filepath.Base(path), "checkpoint.") {
		fault.Point(checkpoint)
		return nil
	}
	fault.Point(segment)
	return nil
}

func (r reportedFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	if err := fault.Op("log.readdir", dir); err != nil {
		return nil, err
	}
	return r.FS.ReadDir(dir)
}

func (r reportedFS) Open(path string) (wal.File, error) {
	if err := fault.Op("log.open", path); err != nil {
		return nil, err
	}
	return r.FS.Open(path)
}

func (r reportedFS) OpenWrite(path string) (wal.File, error) {
	if err := fault.Op("log.open", path); err != nil {
		return nil, err
	}
	f, err := r.FS.OpenWrite(path)
	return reported(f, path, err)
}

func (r reportedFS) Create(path string) (wal.File, error) {
	if err := fault.Op("log.create", path); err != nil {
		return nil, err
	}
	f, err := r.FS.Create(path)
	return reported(f, path, at(path, err, "log.segment-created", "log.checkpoint-created"))
}

func (r reportedFS) Rename(from, to string) error {
	if err := fault.Op("log.rename", to); err != nil {
		return err
	}
	return at(to, r.FS.Rename(from, to), "log.segment-named", "log.checkpoint-named")
}

func (r reportedFS) Remove(path string) error {
	if err := fault.Op("log.remove", path); err != nil {
		return err
	}
	return at(path, r.FS.Remove(path), "log.segment-removed", "log.checkpoint-removed")
}

func (r reportedFS) SyncDir(dir string) error {
	if err := fault.Op("log.syncdir", dir); err != nil {
		return err
	}
	return r.FS.SyncDir(dir)
}

type reportedFile struct {
	wal.File
	path string
}

func reported(f wal.File, path string, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return reportedFile{f, strings.TrimSuffix(path, ".tmp")}, nil // it will have that name
}

// WriteAt writes half when it fails, as a full disk does.
func (f reportedFile) WriteAt(b []byte, off int64) (int, error) {
	if err := fault.Op("log.write", f.path); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off) // the failure that counts is err
		return n, err
	}
	n, err := f.File.WriteAt(b, off)
	fault.Point("log.written")
	return n, err
}

func (f reportedFile) Truncate(size int64) error {
	if err := fault.Op("log.truncate", f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f reportedFile) Sync() error {
	if err := fault.Op("log.sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}
