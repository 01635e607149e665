//go:build faults

package blocks

/*
#cgo LDFLAGS: -Wl,--unresolved-symbols=ignore-in-object-files
extern int daybook_fault_install(void);
*/
import "C"

import (
	"errors"
	"syscall"

	"daybook/tsdb/fault"
)

// sqliteOps are the operations by their number in fault_sqlite.c.
var sqliteOps = [...]string{"sqlite.open", "sqlite.write", "sqlite.sync", "sqlite.truncate", "sqlite.remove"}

//export daybookFault
func daybookFault(op C.int, path *C.char) C.int {
	err := fault.Op(sqliteOps[op], C.GoString(path))
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return C.int(errno)
	}
	return C.int(syscall.EIO)
}

// sqliteReports is false if this SQLite does not let its system calls be replaced.
var sqliteReports = C.daybook_fault_install() == 0
