package daemon

import (
	"os"
	"runtime"
	"sync"
)

// processors is how many cores there are for Go code. It lets one goroutine more
// than that run Go code at once, unless GOMAXPROCS is set: one that comes back from
// SQLite or from the disk would otherwise wait for those that decode requests, up to
// 10 ms each time, and a query comes back hundreds of times. The kernel shares the
// cores out more finely. At full ingest on two cores a look-up by id takes 1 ms
// instead of 5.5, and what is taken in is 4 % less.
var processors = sync.OnceValue(func() int {
	cores := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cores + 1)
	}
	return cores
})
