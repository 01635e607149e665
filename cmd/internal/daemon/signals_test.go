package daemon_test

import (
	"context"
	"os"
	"syscall"
	"testing"

	"daybook/cmd/internal/daemon"
)

// A daemon that is told to end before its files are open ends in order.
func TestStopWhileOpening(t *testing.T) {
	var logs watched
	logs.on("starting daybook", func() { // the first thing that it says
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	if err := daemon.Run(context.Background(), config(t), &logs); err != nil {
		t.Errorf("%v\n%s", err, &logs.Buffer)
	}
}
