package bench

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// size is the bytes of all files under a directory; files that go meanwhile do
// not count.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// mounted reports whether dir exists on another file system than its parent.
func mounted(parent, dir string) bool {
	device := func(path string) (any, bool) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil, false
		}
		return st.Dev, true
	}
	a, okA := device(parent)
	b, okB := device(dir)
	return okA && okB && a != b
}
