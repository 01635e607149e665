package main_test

import (
	"strings"
	"syscall"
	"testing"
)

// SIGHUP does not end the daemon, and is answered in the log.
func TestHangUp(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--storage.read-only"}} {
		p := serve(t, emptyData(t), flags...)
		for n := 1; n <= 2; n++ {
			if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it says that there is nothing to reload", func() error {
				return wants(strings.Count(p.logs.String(), "nothing to reload") == n)
			})
		}
		if code, body := p.get("/-/ready"); code != 200 {
			t.Errorf("%d %s", code, body)
		}
		p.quit()
	}
}
