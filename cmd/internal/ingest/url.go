package ingest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The kinds of broker.
const (
	KindRedis = "redis"
	KindAMQP  = "amqp"
)

var kinds = map[string]string{
	"redis": KindRedis, "rediss": KindRedis, "redis+socket": KindRedis,
	"amqp": KindAMQP, "amqps": KindAMQP,
}

const hidden = "xxxxx"

// errURL does not wrap what net/url says: that quotes parts of the password.
var errURL = errors.New("not a valid broker URL (reserved characters in user and password must be percent-encoded)")

// errAt is for an @ behind the address: most likely a password goes on up to
// it, and net/url took its beginning for a port.
var errAt = errors.New("broker URL: an @ behind the host (in user and password, write / as %2F, ? as %3F, # as %23, @ as %40; in a path or an option, @ as %40)")

// plainOptions are those whose values may be shown. Whatever else stands in a
// query may be a secret.
var plainOptions = []string{
	"exchange", "queue", "global_keyprefix", "fanout_prefix", "fanout_patterns", "virtual_host",
	"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile",
	"heartbeat", "connection_timeout", "channel_max", "auth_mechanism",
	"certfile", "keyfile", "cacertfile", "server_name_indication",
}

// Kind tells which consumer a broker URL is for.
func Kind(raw string) (string, error) {
	u, err := ParseURL(raw)
	if err != nil {
		return "", err
	}
	return kinds[u.Scheme], nil
}

// ParseURL parses a broker URL. Its errors quote nothing that may be a part of
// a password, and what it accepts has none outside of its User.
func ParseURL(raw string) (*url.URL, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errURL
	}
	if strings.Contains(rest, "://") {
		return nil, errors.New("broker URL: one broker at a time, not a list of several")
	}
	if strings.ContainsFunc(scheme, notInScheme) {
		return nil, errURL
	}
	if kinds[scheme] == "" {
		return nil, fmt.Errorf("broker URL: scheme %.20q is not one of redis, rediss, redis+socket, amqp, amqps", scheme)
	}
	end := strings.IndexAny(rest, "/?#")
	if end >= 0 && strings.Contains(rest[end:], "@") {
		return nil, errAt
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, errURL
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return nil, errURL
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("broker URL: the port is not one of 1 to 65535")
		}
	}
	return u, nil
}

// notInScheme finds what no scheme has, so that this is not one.
func notInScheme(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '-', c == '.':
		return false
	}
	return true
}

// CheckQuery refuses options that are not known: a typing error would
// subscribe to the wrong channel and be silent for ever.
func CheckQuery(u *url.URL, known ...string) error {
	for name, values := range u.Query() {
		if !slices.Contains(known, name) {
			slices.Sort(known)
			return fmt.Errorf("broker URL: option %.40q is not known (known: %s)", name, strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return fmt.Errorf("broker URL: option %.40q is given more than once", name)
		}
	}
	return nil
}

// Redact is a broker URL as it may be shown. Of a URL that cannot be parsed
// only the scheme is left.
func Redact(raw string) string {
	u, err := ParseURL(raw)
	if err != nil {
		scheme, _, ok := strings.Cut(raw, "://")
		if kinds[scheme] == "" || !ok {
			scheme = "unknown"
		}
		return scheme + "://" + hidden
	}
	return Shown(u)
}

// Shown is a broker URL that ParseURL has read, as it may be shown.
func Shown(u *url.URL) string {
	shown := *u
	if u.User != nil {
		name := u.User.Username()
		_, has := u.User.Password()
		switch {
		case has:
			shown.User = url.UserPassword(name, hidden)
		case kinds[u.Scheme] == KindRedis && name != "", strings.Contains(name, ":"):
			shown.User = url.User(hidden) // a password that misses its colon, or one whose colon was encoded, too
		}
	}
	query := u.Query()
	for name := range query {
		if !slices.Contains(plainOptions, name) {
			query.Set(name, hidden)
		}
	}
	shown.RawQuery = query.Encode()
	text := shown.String()
	if rest, ok := strings.CutPrefix(text, u.Scheme+":"); ok && !strings.HasPrefix(rest, "//") { // net/url leaves it out of redis://, which is this machine
		text = u.Scheme + "://" + rest
	}
	return text
}

// scrub takes the password of u out of the text of an error, should a library
// ever put it there.
func scrub(text string, u *url.URL) string {
	if u == nil || u.User == nil {
		return text
	}
	secret, has := u.User.Password()
	if !has && kinds[u.Scheme] == KindRedis {
		secret = u.User.Username() // a password that misses its colon, as in Redact
	}
	if len(secret) < 4 { // would be found in any text
		return text
	}
	form := url.QueryEscape(secret)
	all := strings.ReplaceAll(form, "+", "%20") // as Python's quote does with safe=""
	for _, spelling := range []string{url.User(secret).String(), url.PathEscape(secret), form, all, secret} {
		text = strings.ReplaceAll(text, spelling, hidden)
	}
	return text
}
