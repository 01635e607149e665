package blocks

import "syscall"

// DiskSpace is how full a file system is, in bytes.
type DiskSpace struct {
	Total int64 // all of it
	Used  int64
	Free  int64 // what an ordinary user may still write: less than what is not used
}

// DiskSpaceOf asks the file system that dir is on. Its errors are statfs(2)'s.
func DiskSpaceOf(dir string) (DiskSpace, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return DiskSpace{}, err
	}
	return diskSpace(&st), nil
}

// diskSpace counts blocks in the unit that they are told in: f_frsize. f_bsize is
// what is best read at a time, on FUSE and on network file systems often much more;
// file systems that do not tell the former mean the latter.
func diskSpace(st *syscall.Statfs_t) DiskSpace {
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	return DiskSpace{Total: int64(st.Blocks) * unit, Used: int64(st.Blocks-st.Bfree) * unit, Free: int64(st.Bavail) * unit}
}
