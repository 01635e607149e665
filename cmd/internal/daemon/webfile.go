package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
	"golang.org/x/time/rate"

	"daybook/cmd/internal/api"
)

// webFile is --web.config.file. It is read again when it changes; certificates
// are read with every connection. A change that cannot be right is logged and
// the last good version stays in force.
type webFile struct {
	path   string // "" is no file
	logger log.Logger

	mu      sync.Mutex
	current webSettings // guarded by mu
	stamp   fileStamp   // guarded by mu; of the version that was looked at last
}

// webSettings is one version of the file.
type webSettings struct {
	tls    *tls.Config // nil is plain HTTP
	access api.Access
}

// fileStamp tells versions of a file apart.
type fileStamp struct {
	changed time.Time
	size    int64
}

func openWebFile(path string, logger log.Logger) (*webFile, error) {
	f := &webFile{path: path, logger: logger}
	if path == "" {
		return f, nil
	}
	var err error
	if f.stamp, err = stampOf(path); err != nil {
		return nil, err
	}
	f.current, err = readWebFile(path)
	return f, err
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{info.ModTime(), info.Size()}, nil
}

// readWebFile has exporter-toolkit validate the file and its certificates.
func readWebFile(path string) (s webSettings, err error) {
	if err := toolkit.Validate(path); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	c := toolkit.Config{
		TLSConfig:  toolkit.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13},
		HTTPConfig: toolkit.HTTPConfig{HTTP2: true},
	}
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	if c.TLSConfig.IsEnabled() {
		c.TLSConfig.SetDirectory(filepath.Dir(path))
		if s.tls, err = toolkit.ConfigToTLSConfig(&c.TLSConfig); err != nil {
			return s, fmt.Errorf("%s: %w", path, err)
		}
		s.tls.NextProtos = []string{"http/1.1"}
		if c.HTTPConfig.HTTP2 {
			s.tls.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	s.access.Headers = c.HTTPConfig.Header
	s.access.Users = make(map[string]string, len(c.Users))
	for name, hash := range c.Users {
		s.access.Users[name] = string(hash)
	}
	if limit := c.RateLimiterConfig; limit.Interval != 0 {
		s.access.Allow = rate.NewLimiter(rate.Every(limit.Interval), limit.Burst).Allow
	}
	return s, nil
}

// settings is the version in force.
func (f *webFile) settings() webSettings {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		return f.current
	}
	stamp, err := stampOf(f.path)
	if stamp == f.stamp {
		return f.current
	}
	f.stamp = stamp
	var next webSettings
	if err == nil {
		next, err = readWebFile(f.path)
	}
	if err == nil {
		err = f.current.mayBecome(next)
	}
	if err != nil {
		level.Error(f.logger).Log("msg", "changed web config not taken over, the one before stays in force", "err", err)
		return f.current
	}
	level.Info(f.logger).Log("msg", "changed web config taken over", "path", f.path)
	f.current = next
	return next
}

// mayBecome refuses changes that would open what was closed: a file is empty
// for a moment while an editor writes it.
func (s webSettings) mayBecome(next webSettings) error {
	switch {
	case (s.tls == nil) != (next.tls == nil):
		return errors.New("switching TLS on or off needs a restart")
	case s.authenticates() && !next.authenticates():
		return errors.New("giving up authentication needs a restart")
	}
	return nil
}

func (s webSettings) authenticates() bool {
	return len(s.access.Users) > 0 || s.tls != nil && s.tls.ClientAuth == tls.RequireAndVerifyClientCert
}

func (f *webFile) authenticates() bool { return f.settings().authenticates() }
func (f *webFile) access() api.Access  { return f.settings().access }

// secure gives the server TLS if the file asks for it.
func (f *webFile) secure(s *http.Server) {
	first := f.settings().tls
	if first == nil {
		return
	}
	s.TLSConfig = first.Clone()
	s.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.settings().tls, nil }
	if len(first.NextProtos) == 1 {
		s.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // no HTTP/2
	}
}
