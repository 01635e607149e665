package blocks

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/mattn/go-sqlite3"
)

// What SQLite says of the system is told from what it says of a file.
func TestSystemRemedy(t *testing.T) {
	for _, x := range []struct {
		err  error
		want string
	}{
		{sqlite3.Error{Code: sqlite3.ErrFull}, "make room"},
		{sqlite3.Error{Code: sqlite3.ErrIoErr, SystemErrno: syscall.EDQUOT}, "make room"},
		{sqlite3.Error{Code: sqlite3.ErrCantOpen, SystemErrno: syscall.EMFILE}, "ulimit"},
		{sqlite3.Error{Code: sqlite3.ErrCantOpen, SystemErrno: syscall.EROFS}, "copy the whole directory"},
		{sqlite3.Error{Code: sqlite3.ErrCantOpen, SystemErrno: syscall.ENOENT}, "copy the whole directory"},
		{sqlite3.Error{Code: sqlite3.ErrIoErr}, "kernel"},
		{sqlite3.Error{Code: sqlite3.ErrCorrupt}, ""},
		{fs.ErrNotExist, ""},
	} {
		if got := SystemRemedy(fmt.Errorf("opening x: %w", x.err)); got == "" && x.want != "" || !strings.Contains(got, x.want) {
			t.Errorf("%v: %q, want %q", x.err, got, x.want)
		}
	}
}
