package main

import (
	"errors"
	"net/url"
	"strings"
)

// parseDaemonURL reads what --url says. The error quotes nothing of it: it may
// hold a password. So does what is accepted, but nowhere else than in its User:
// of an unencoded / or ? in a password, net/url makes a path or a query.
func parseDaemonURL(raw string) (*url.URL, error) {
	_, rest, _ := strings.Cut(raw, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 && strings.Contains(rest[end:], "@") {
		return nil, errors.New("--url has an @ behind the host: in user and password, write / as %2F, ? as %3F, # as %23, @ as %40")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("--url is no address such as http://127.0.0.1:8365")
	}
	return u, nil
}
