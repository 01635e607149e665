package wal

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// FS is what the log needs of a file system. It is an interface so that a test can fail, tear or
// lose every single operation. Errors must satisfy errors.Is(err, fs.ErrNotExist) where a file
// is missing.
type FS interface {
	MkdirAll(dir string) error
	ReadDir(dir string) ([]fs.DirEntry, error)
	// Open opens for reading.
	Open(path string) (File, error)
	// OpenWrite opens an existing file for writing.
	OpenWrite(path string) (File, error)
	// Create opens for reading and writing, and empties what was there.
	Create(path string) (File, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
}

// OS is the operating system's file system.
var OS FS = osFS{}

// osFS is the operating system's file system. Records may hold task arguments, hence no access
// for others.
type osFS struct{}

const (
	dirMode  = 0o750
	fileMode = 0o640
)

func (osFS) MkdirAll(dir string) error                 { return os.MkdirAll(dir, dirMode) }
func (osFS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (osFS) Rename(from, to string) error              { return os.Rename(from, to) }
func (osFS) Remove(path string) error                  { return os.Remove(path) }

func (osFS) Open(path string) (File, error)      { return openOS(path, os.O_RDONLY) }
func (osFS) OpenWrite(path string) (File, error) { return openOS(path, os.O_RDWR) }
func (osFS) Create(path string) (File, error) {
	return openOS(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, fileMode)
	if err != nil {
		return nil, err // not a File around a nil *os.File
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
