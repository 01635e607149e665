package brokers

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main is the TestMain of a package that connects, and gives its exit code: no
// goroutine outlives the tests, nor does a connection, which need not have one.
func Main(m *testing.M) (code int) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(c int) { code = c }))
	if code != 0 {
		return code
	}
	if left := sockets(3 * time.Second); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "connections that outlive the tests: %s\n", strings.Join(left, " "))
		return 1
	}
	return 0
}

// sockets are those that are still open after a while.
func sockets(patience time.Duration) (left []string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for from := time.Now(); ; <-tick.C {
		left = left[:0]
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return nil // not Linux
		}
		for _, f := range files {
			if target, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(target, "socket:") {
				left = append(left, target)
			}
		}
		if len(left) == 0 || time.Since(from) > patience {
			return left
		}
	}
}
