package compact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// space is what a data directory takes up, physically.
type space struct {
	total int64            // bytes, each inode once
	frees map[string]int64 // by path: what unlinking it gives back; 0 for a file with other links
}

// measure walks a directory. Files that vanish meanwhile do not count.
func measure(dir string) (space, error) {
	s := space{frees: map[string]int64{}}
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
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
		if st.Nlink == 1 {
			s.frees[path] = bytes
		}
		return nil
	})
	return s, err
}

// disk is how full the file system of a directory is, in bytes.
type disk struct {
	size int64 // what an ordinary user can use: used and available
	used int64
}

func diskOf(dir string) (disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return disk{}, err
	}
	used := int64(st.Blocks-st.Bfree) * st.Bsize
	return disk{size: used + int64(st.Bavail)*st.Bsize, used: used}, nil
}
