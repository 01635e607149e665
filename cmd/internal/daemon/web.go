package daemon

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const (
	// headerTimeout and maxHeader bound what a request may cost before its
	// handler sees it; the api bounds bodies and answers.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// drainTimeout is how long the requests under way get to end.
	drainTimeout = 10 * time.Second
)

// web is the HTTP server as an actor.
type web struct {
	logger   log.Logger
	listener net.Listener
	server   *http.Server
	file     *webFile
}

func listen(logger log.Logger, address string, h http.Handler, file *webFile, base context.Context) (*web, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w", err)
	}
	s := &web{
		logger:   logger,
		listener: l,
		file:     file,
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			BaseContext:       func(net.Listener) context.Context { return base },
			ErrorLog:          stdlog.New(log.NewStdlibAdapter(level.Debug(logger), log.MessageKey("err")), "", 0),
		},
	}
	file.secure(s.server)
	return s, nil
}

func (s *web) run() error {
	level.Info(s.logger).Log("msg", "listening", "addr", s.listener.Addr(), "tls", s.server.TLSConfig != nil)
	if reachable(s.listener.Addr()) && !s.file.authenticates() {
		level.Warn(s.logger).Log("msg", "anybody who can reach this address can read and write everything: "+
			"set basic_auth_users in --web.config.file, or listen on 127.0.0.1", "addr", s.listener.Addr())
	}
	serve := s.server.Serve
	if s.server.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.server.ServeTLS(l, "", "") }
	}
	if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// reachable reports whether other machines may connect.
func reachable(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || !tcp.IP.IsLoopback()
}

// interrupt waits for the requests under way, and cuts off those that take
// too long.
func (s *web) interrupt(error) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		level.Warn(s.logger).Log("msg", "requests cut off", "err", errors.Join(err, s.server.Close()))
	}
}
