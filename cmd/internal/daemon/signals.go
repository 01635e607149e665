package daemon

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/oklog/run"
)

// signals are taken before the first file is opened: a daemon that is told to end while
// it opens a large directory ends in order, once it has.
type signals struct {
	stop   chan os.Signal
	reload chan os.Signal
	logger log.Logger
}

func takeSignals(logger log.Logger) *signals {
	s := &signals{stop: make(chan os.Signal, 1), reload: make(chan os.Signal, 1), logger: logger}
	signal.Notify(s.stop, syscall.SIGTERM, os.Interrupt)
	signal.Notify(s.reload, syscall.SIGHUP)
	return s
}

// wait returns a run.SignalError at a signal to end, or the error of ctx. From then on
// such a signal ends the process at once. SIGHUP, which makes others read their
// configuration again, is no reason to end.
func (s *signals) wait(ctx context.Context) error {
	defer signal.Stop(s.stop)
	for {
		select {
		case sig := <-s.stop:
			return &run.SignalError{Signal: sig}
		case <-s.reload:
			level.Info(s.logger).Log("msg", "there is nothing to reload: the file of --web.config.file is read again when it changes, flags at a start", "reason", "SIGHUP")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release gives the signals back.
func (s *signals) release() {
	signal.Stop(s.stop)
	signal.Stop(s.reload)
}
