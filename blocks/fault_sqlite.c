//go:build faults

// SQLite's file operations, reported to package fault before they are done. The
// library lets its system calls be replaced one by one, all but fsync: that is
// libc's, and a definition in the program itself comes before it.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

typedef void (*syscall_ptr)(void);

// As in sqlite3.h; the structure only ever grows.
typedef struct sqlite3_vfs sqlite3_vfs;
struct sqlite3_vfs {
	int iVersion, szOsFile, mxPathname;
	sqlite3_vfs *pNext;
	const char *zName;
	void *pAppData;
	void *methods[13];
	int (*xSetSystemCall)(sqlite3_vfs *, const char *, syscall_ptr);
	syscall_ptr (*xGetSystemCall)(sqlite3_vfs *, const char *);
};
extern sqlite3_vfs *sqlite3_vfs_find(const char *);
extern int sqlite3_initialize(void);

// In fault_sqlite.go: 0, or the errno of the failure.
extern int daybookFault(int op, char *path);

enum { OP_OPEN, OP_WRITE, OP_SYNC, OP_TRUNCATE, OP_UNLINK };

static int (*real_open)(const char *, int, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);

static int fails(int op, const char *path) {
	int e = daybookFault(op, (char *)path);
	if (e == 0) return 0;
	errno = e;
	return 1;
}

// As fails, for an open file, by its name; one that is deleted has " (deleted)" behind it.
static int fd_fails(int op, int fd) {
	char link[32], path[PATH_MAX + 1];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, PATH_MAX);
	path[n < 0 ? 0 : n] = 0;
	return fails(op, path);
}

static int fault_open(const char *path, int flags, int mode) {
	return fails(OP_OPEN, path) ? -1 : real_open(path, flags, mode);
}

// A write that fails has written half: a full disk takes what fits.
static ssize_t fault_pwrite(int fd, const void *b, size_t n, off_t at) {
	if (!fd_fails(OP_WRITE, fd)) return real_pwrite(fd, b, n, at);
	int e = errno;
	if (n > 1) real_pwrite(fd, b, n / 2, at);
	errno = e;
	return -1;
}

static int fault_ftruncate(int fd, off_t n) { return fd_fails(OP_TRUNCATE, fd) ? -1 : real_ftruncate(fd, n); }

static int fault_unlink(const char *path) { return fails(OP_UNLINK, path) ? -1 : real_unlink(path); }

int fsync(int fd) { return fd_fails(OP_SYNC, fd) ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return fd_fails(OP_SYNC, fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }

int daybook_fault_install(void) {
	sqlite3_initialize();
	sqlite3_vfs *v = sqlite3_vfs_find("unix");
	if (!v || v->iVersion < 3) return 1;
	const char *pwrite_name = "pwrite64";
	if (!v->xGetSystemCall(v, pwrite_name)) pwrite_name = "pwrite";
	real_open = (void *)v->xGetSystemCall(v, "open");
	real_pwrite = (void *)v->xGetSystemCall(v, pwrite_name);
	real_ftruncate = (void *)v->xGetSystemCall(v, "ftruncate");
	real_unlink = (void *)v->xGetSystemCall(v, "unlink");
	if (!real_open || !real_pwrite || !real_ftruncate || !real_unlink) return 1;
	return v->xSetSystemCall(v, "open", (syscall_ptr)fault_open) |
		v->xSetSystemCall(v, pwrite_name, (syscall_ptr)fault_pwrite) |
		v->xSetSystemCall(v, "ftruncate", (syscall_ptr)fault_ftruncate) |
		v->xSetSystemCall(v, "unlink", (syscall_ptr)fault_unlink);
}
