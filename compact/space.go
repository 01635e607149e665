package compact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/go-kit/log/level"

	"daybook/blocks"
)

// space is what a data directory takes up, physically.
type space struct {
	total  int64 // bytes, each inode once
	files  map[string]inode
	hidden []string // directories that may not be listed
}

type inode struct {
	number uint64
	links  uint64
	bytes  int64
}

// freeing returns a function that tells what unlinking files gives back, after
// those that it was asked of before: a file gives its bytes back with its last
// name.
func (s space) freeing() func(path string) int64 {
	gone := map[uint64]uint64{}
	return func(path string) int64 {
		i, ok := s.files[path]
		if !ok {
			return 0
		}
		if gone[i.number]++; gone[i.number] == i.links {
			return i.bytes
		}
		return 0
	}
}

// measure walks a directory. Files that vanish meanwhile do not count, nor do those
// in a directory that may not be listed, such as the lost+found of a file system that is
// mounted here: without them what is too much is still deleted, and with an error nothing
// would be.
func measure(dir string) (space, error) {
	s := space{files: map[string]inode{}}
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if errors.Is(err, os.ErrPermission) && path != dir {
			s.hidden = append(s.hidden, path)
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		bytes := st.Blocks * 512
		if !seen[st.Ino] {
			seen[st.Ino] = true
			s.total += bytes
		}
		s.files[path] = inode{number: st.Ino, links: uint64(st.Nlink), bytes: bytes}
		return nil
	})
	return s, err
}

// measure measures the data directory, and tells once what is hidden.
func (c *Compactor) measure() (space, error) {
	s, err := measure(c.dirs.root)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range s.hidden {
		if !c.hidden[path] {
			c.hidden[path] = true
			level.Warn(c.logger).Log("msg", "a directory may not be listed: what it takes up is not counted for retention, and not deleted", "path", path)
		}
	}
	return s, err
}

// disk is how full the file system of a directory is, in bytes.
type disk struct {
	size int64 // what an ordinary user can use: used and available
	used int64
}

func diskOf(dir string) (disk, error) {
	s, err := blocks.DiskSpaceOf(dir)
	return disk{size: s.Used + s.Free, used: s.Used}, err
}
