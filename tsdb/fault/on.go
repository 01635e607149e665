//go:build faults

package fault

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Compiled tells whether there is anything in this package.
const Compiled = true

// Killed begins the last line on stderr of a process that kills itself; behind
// it is the point, or "op".
const Killed = "fault: killed at "

// Hook is asked before every operation, from whatever goroutine. What it returns
// is the operation's error; of a point, whose op is "point", it is ignored.
type Hook func(op, path string) error

var hook atomic.Pointer[Hook]

// Set puts a hook in the place of the present one, and returns what puts that back.
func Set(h Hook) (restore func()) {
	old := hook.Swap(&h)
	return func() { hook.Store(old) }
}

// Point is a moment at which a crash is worth a test.
func Point(name string) {
	crash.reached(name)
	if h := hook.Load(); h != nil {
		_ = (*h)("point", name) // a point cannot fail
	}
}

// Op is called before a file operation, which is not done if it returns an error.
func Op(op, path string) error {
	crash.reached("op")
	if h := hook.Load(); h != nil {
		return (*h)(op, path)
	}
	return nil
}

// Writer reports what is written to a file by way of it. A write that fails has
// written half, as on a full disk.
func Writer(w io.Writer, path string) io.Writer { return writer{w, path} }

type writer struct {
	w    io.Writer
	path string
}

func (w writer) Write(b []byte) (int, error) {
	if err := Op("write", w.path); err != nil {
		n, _ := w.w.Write(b[:len(b)/2]) // the failure that counts is err
		return n, err
	}
	return w.w.Write(b)
}

// crash is what DAYBOOK_CRASH says.
var crash = parse(os.Getenv("DAYBOOK_CRASH"))

type crasher struct {
	at string
	n  atomic.Int64 // how often it is still to be survived, and once more
}

func parse(text string) *crasher {
	c := &crasher{}
	at, n, _ := strings.Cut(text, ":")
	c.at = at
	times, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		times = 1
	}
	c.n.Store(times)
	return c
}

func (c *crasher) reached(at string) {
	if at != c.at || c.n.Add(-1) != 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "%s%s\n", Killed, at)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal needs a moment; nothing may be done in it
}
