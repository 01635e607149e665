package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// trustFlags say whose certificates an https --url may have.
type trustFlags struct {
	ca       string
	insecure bool
}

func (f *trustFlags) register(cmd *kingpin.CmdClause) {
	cmd.Flag("url.ca-file", "PEM file of the authority that vouches for an https --url, besides the system's.").StringVar(&f.ca)
	cmd.Flag("url.insecure", "Take any certificate of an https --url.").BoolVar(&f.insecure)
}

// config returns nil if nothing is asked for but what the system trusts.
func (f *trustFlags) config() (*tls.Config, error) {
	if f.ca == "" {
		if f.insecure {
			return &tls.Config{InsecureSkipVerify: true}, nil
		}
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--url.ca-file: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--url.ca-file: no certificate in %s", f.ca)
	}
	return &tls.Config{RootCAs: pool, InsecureSkipVerify: f.insecure}, nil
}

// wantsPassword is the error of a 401. shown is the address without a password.
func wantsPassword(shown string, resp *http.Response) error {
	return fmt.Errorf("%s answers %s: give user:password@ in --url", shown, resp.Status)
}

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
