package blocks

import (
	"syscall"
	"testing"
)

func TestDiskSpace(t *testing.T) {
	st := syscall.Statfs_t{Blocks: 1000, Bfree: 300, Bavail: 200, Bsize: 1 << 20, Frsize: 4096}
	if got, want := diskSpace(&st), (DiskSpace{Total: 1000 * 4096, Used: 700 * 4096, Free: 200 * 4096}); got != want {
		t.Errorf("blocks of 4 KiB that are best read a MiB at a time: %+v, want %+v", got, want)
	}
	st.Frsize, st.Bsize = 0, 512
	if got, want := diskSpace(&st), (DiskSpace{Total: 1000 * 512, Used: 700 * 512, Free: 200 * 512}); got != want {
		t.Errorf("a file system that tells one size: %+v, want %+v", got, want)
	}
	if got, err := DiskSpaceOf(t.TempDir()); err != nil || got.Total <= 0 || got.Used+got.Free > got.Total {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := DiskSpaceOf(t.TempDir() + "/gone"); err == nil {
		t.Error("of a directory that is not there something is told")
	}
}
