package blocks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"daybook/tsdb/fault"
)

// SyncDir makes what was created, renamed or deleted in a directory durable.
func SyncDir(dir string) error {
	if err := fault.Op("syncdir", dir); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncFile makes a finished file durable. Never for a live file (doc.go).
func syncFile(path string) error {
	if err := fault.Op("sync", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// publish gives a finished file its final name. A file that has that name
// already is never replaced: the error is fs.ErrExist then. After another error
// it has no name, if the disk lets it be taken away.
func publish(tmp, path string) error {
	err := fault.Op("link", path)
	if err == nil {
		err = os.Link(tmp, path)
	}
	switch {
	case err == nil:
		fault.Point("publish.linked")
		if err := remove(tmp); err != nil {
			return errors.Join(err, removeFiles(path))
		}
	case errors.Is(err, syscall.EPERM), errors.Is(err, errors.ErrUnsupported):
		// A file system without hard links.
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, &fs.PathError{Op: "rename", Path: path, Err: fs.ErrExist})
		}
		if err := rename(tmp, path); err != nil {
			return err
		}
	default:
		return err
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return errors.Join(err, removeFiles(path))
	}
	return nil
}

// remove and rename are those of package os.
func remove(path string) error {
	if err := fault.Op("remove", path); err != nil {
		return err
	}
	return os.Remove(path)
}

func rename(from, to string) error {
	if err := fault.Op("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// physicalBytes is what files occupy on the disk, by their inodes; absent
// ones count as nothing.
func physicalBytes(paths ...string) int64 {
	var n int64
	for _, path := range paths {
		if fi, err := os.Lstat(path); err == nil {
			n += allocated(fi)
		}
	}
	return n
}

func allocated(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return fi.Size()
}

// removeFiles unlinks files and makes that durable; absent ones are not an
// error, so that it can be done again.
func removeFiles(paths ...string) error {
	for _, path := range paths {
		if err := remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return SyncDir(filepath.Dir(paths[0]))
}

// sides are the files that SQLite keeps beside a database.
func sides(path string) []string {
	return []string{path + "-wal", path + "-shm", path + "-journal"}
}

// absent returns an error unless neither path nor anything of a database of
// that name is there.
func absent(path string) error {
	for _, p := range append(sides(path), path) {
		switch _, err := os.Lstat(p); {
		case err == nil:
			return fmt.Errorf("creating %s: %s: %w", path, filepath.Base(p), fs.ErrExist)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}
