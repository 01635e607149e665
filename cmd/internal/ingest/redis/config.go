package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"daybook/cmd/internal/ingest"
)

// config is what a broker URL says.
type config struct {
	url     *url.URL
	client  *goredis.Options
	pattern string
}

// parse reads redis://, rediss:// and redis+socket:// as Celery writes them.
func parse(raw string) (*config, error) {
	u, err := ingest.ParseURL(raw)
	if err != nil {
		return nil, err
	}
	if kind, _ := ingest.Kind(raw); kind != ingest.KindRedis {
		return nil, errors.New("broker URL: not one of Redis")
	}
	if err := ingest.CheckQuery(u, "global_keyprefix", "fanout_prefix", "fanout_patterns", "exchange", "virtual_host",
		"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"); err != nil {
		return nil, err
	}
	o := &goredis.Options{
		Protocol:                 2, // pub/sub is all we do: no HELLO, so that an ACL user needs no right to it
		DisableIdentity:          true,
		MaxRetries:               -1,
		DialerRetries:            1,
		PoolSize:                 1,
		ReadBufferSize:           256 << 10,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	db, err := address(u, o)
	if err != nil {
		return nil, err
	}
	if o.TLSConfig, err = tlsConfig(u); err != nil {
		return nil, err
	}
	pattern, err := patternOf(u.Query(), db)
	if err != nil {
		return nil, err
	}
	return &config{url: u, client: o, pattern: pattern}, nil
}

// address fills in where to connect to and returns the database number, which
// matters only as a part of channel names: pub/sub knows no databases.
func address(u *url.URL, o *goredis.Options) (db int, err error) {
	number := strings.Trim(u.Path, "/")
	if u.Scheme == "redis+socket" {
		o.Network, o.Addr = "unix", u.Path
		if u.Host != "" || u.Path == "" {
			return 0, errors.New("broker URL: redis+socket wants an absolute path: redis+socket:///path/to/redis.sock?virtual_host=0")
		}
		number = strings.Trim(u.Query().Get("virtual_host"), "/")
	} else {
		host, port := u.Hostname(), u.Port()
		if host == "" {
			host = "localhost"
		}
		if port == "" {
			port = "6379"
		}
		o.Network, o.Addr = "tcp", net.JoinHostPort(host, port)
		if number == "" {
			number = strings.Trim(u.Query().Get("virtual_host"), "/")
		}
	}
	if number == "" {
		return 0, nil
	}
	if db, err = strconv.Atoi(number); err != nil || db < 0 {
		return 0, fmt.Errorf("broker URL: database %.20q is not a number", number)
	}
	return db, nil
}

// patternOf is what to subscribe to: {global_keyprefix}{fanout_prefix}{exchange}/*.
func patternOf(q url.Values, db int) (string, error) {
	exchange := q.Get("exchange")
	if exchange == "" {
		exchange = "celeryev"
	}
	prefix := "/{db}."
	if q.Has("fanout_prefix") {
		switch v := q.Get("fanout_prefix"); strings.ToLower(v) {
		case "true", "1":
		case "false", "0", "":
			prefix = ""
		default:
			prefix = v
		}
	}
	channel := glob(q.Get("global_keyprefix") + strings.ReplaceAll(prefix, "{db}", strconv.Itoa(db)) + exchange)
	switch v := strings.ToLower(q.Get("fanout_patterns")); v {
	case "false", "0":
		return channel, nil
	case "", "true", "1":
	default:
		return "", fmt.Errorf("broker URL: fanout_patterns is true or false, not %.20q", v)
	}
	if prefix == "" {
		return channel + "*", nil // with or without a slash: both are configurations
	}
	return channel + "/*", nil
}

// glob escapes what PSUBSCRIBE gives a meaning to.
func glob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// tlsConfig understands the options that redis-py and Celery use.
func tlsConfig(u *url.URL) (*tls.Config, error) {
	q := u.Query()
	if u.Scheme != "rediss" {
		if q.Has("ssl_cert_reqs") || q.Has("ssl_ca_certs") || q.Has("ssl_certfile") || q.Has("ssl_keyfile") {
			return nil, errors.New("broker URL: ssl options are for rediss://")
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	switch v := strings.ToLower(strings.TrimPrefix(strings.ToUpper(q.Get("ssl_cert_reqs")), "CERT_")); v {
	case "", "required":
	case "none", "optional":
		c.InsecureSkipVerify = true
	default:
		return nil, fmt.Errorf("broker URL: ssl_cert_reqs is required, optional or none, not %.20q", v)
	}
	if file := q.Get("ssl_ca_certs"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read ssl_ca_certs: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ssl_ca_certs: no certificate in %s", file)
		}
	}
	if cert, key := q.Get("ssl_certfile"), q.Get("ssl_keyfile"); cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read ssl_certfile and ssl_keyfile: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
