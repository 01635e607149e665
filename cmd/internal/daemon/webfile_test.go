package daemon_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"daybook/cmd/internal/daemon"
	"daybook/tsdb"
)

// writeCert writes cert.pem and key.pem into dir and returns the certificate.
func writeCert(t *testing.T, dir string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "daybook"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// write replaces a file in one step, as whoever renews certificates should.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func users(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("basic_auth_users:\n  ada: %s\n", h)
}

const withTLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"

// TestWebFile runs with TLS and passwords, and changes both.
func TestWebFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "web.yml")
	first := writeCert(t, dir, 1)
	write(t, path, withTLS+"http_server_config:\n  headers:\n    X-Frame-Options: deny\n"+users(t, "one"))
	c := config(t)
	c.Web.ConfigFile = path
	d := start(t, c)

	get := func(root *x509.Certificate, target, password string) (code int, proto string, serial int64, err error) {
		pool := x509.NewCertPool()
		pool.AddCert(root)
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
		defer client.CloseIdleConnections()
		r, err := http.NewRequest("GET", "https://"+d.addr+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			r.SetBasicAuth("ada", password)
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0, "", 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Proto, resp.TLS.PeerCertificates[0].SerialNumber.Int64(), nil
	}
	for _, x := range []struct {
		target, password string
		want             int
	}{{"/-/healthy", "", 200}, {"/api/v1/blocks", "", 401}, {"/metrics", "", 401}, {"/metrics", "one", 200}, {"/api/v1/status/flags", "two", 401}} {
		code, proto, serial, err := get(first, x.target, x.password)
		if code != x.want || proto != "HTTP/2.0" || serial != 1 {
			t.Errorf("%s with %q: %d %s %d %v", x.target, x.password, code, proto, serial, err)
		}
	}
	if resp, err := http.Get("http://" + d.addr + "/metrics"); err == nil { // net/http answers 400 to plain HTTP
		if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %d", resp.StatusCode)
		}
	}

	second := writeCert(t, dir, 2)
	if code, _, serial, err := get(second, "/-/healthy", ""); code != 200 || serial != 2 {
		t.Errorf("a new certificate: %d %d %v", code, serial, err)
	}
	write(t, path, withTLS+users(t, "two"))
	if code, _, _, err := get(second, "/metrics", "two"); code != 200 {
		t.Errorf("a new password: %d %v", code, err)
	}
	if code, _, _, err := get(second, "/metrics", "one"); code != 401 {
		t.Errorf("the old password: %d %v", code, err)
	}
	for name, text := range map[string]string{"broken": "basic_auth_users: [", "empty": "", "without passwords": withTLS, "without TLS": users(t, "three")} {
		write(t, path, text)
		if code, _, _, err := get(second, "/metrics", "two"); code != 200 {
			t.Errorf("%s: %d %v", name, code, err)
		}
		if code, _, _, err := get(second, "/metrics", ""); code != 401 {
			t.Errorf("%s, no password: %d %v", name, code, err)
		}
	}
	if n := strings.Count(d.logs.String(), "changed web config not taken over"); n != 4 {
		t.Errorf("%d changes refused: %s", n, d.logs)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if code, _, _, err := get(second, "/metrics", ""); code != 401 {
		t.Errorf("without the file: %d %v", code, err)
	}
}

// TestWithoutHTTP2 wants http2: false obeyed.
func TestWithoutHTTP2(t *testing.T) {
	dir := t.TempDir()
	cert := writeCert(t, dir, 1)
	c := config(t)
	c.Web.ConfigFile = filepath.Join(dir, "web.yml")
	write(t, c.Web.ConfigFile, withTLS+"http_server_config:\n  http2: false\n")
	d := start(t, c)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	conn, err := tls.Dial("tcp", d.addr, &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("negotiated %q", p)
	}
}

// TestBadWebFile wants files that cannot work refused before anything happens.
func TestBadWebFile(t *testing.T) {
	dir := t.TempDir()
	writeCert(t, dir, 1)
	for name, text := range map[string]string{
		"no YAML":           "{",
		"unknown key":       "basic_auth: {}\n",
		"no hash":           "basic_auth_users:\n  ada: enchantress\n",
		"no key file":       "tls_server_config:\n  cert_file: cert.pem\n",
		"missing cert":      "tls_server_config:\n  cert_file: none.pem\n  key_file: key.pem\n",
		"swapped":           "tls_server_config:\n  cert_file: key.pem\n  key_file: cert.pem\n",
		"unknown client":    withTLS + "  client_auth_type: Sometimes\n",
		"header of its own": "http_server_config:\n  headers:\n    Server: x\n",
	} {
		c := config(t)
		c.Web.ConfigFile = filepath.Join(dir, "web.yml")
		write(t, c.Web.ConfigFile, text)
		refused(t, name, c, "--web.config.file")
	}
	c := config(t)
	c.Web.ConfigFile = filepath.Join(dir, "none.yml")
	refused(t, "no file", c, "none.yml")
	c.Redact = daemon.RedactConfig{Expressions: []string{"("}}
	refused(t, "two things at once", c, "--ingest.redact")
}

// refused wants an OptionsError that mentions something, and no data directory.
func refused(t *testing.T, name string, c daemon.Config, mention string) {
	t.Helper()
	c.Storage.Dir = filepath.Join(c.Storage.Dir, "new")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var options *tsdb.OptionsError
	if err := daemon.Run(ctx, c, new(bytes.Buffer)); !errors.As(err, &options) || !strings.Contains(err.Error(), mention) {
		t.Errorf("%s: %v", name, err)
	}
	if _, err := os.Stat(c.Storage.Dir); err == nil {
		t.Errorf("%s: something was made of it", name)
	}
}

// TestOpenDoor wants a warning where anybody may come in, and only there.
func TestOpenDoor(t *testing.T) {
	const warning = "anybody who can reach this address"
	path := filepath.Join(t.TempDir(), "web.yml")
	write(t, path, users(t, "x"))
	for _, x := range []struct {
		address, file string
		warns         bool
	}{{"127.0.0.1:0", "", false}, {"[::1]:0", "", false}, {":0", "", true}, {"0.0.0.0:0", "", true}, {":0", path, false}} {
		if l, err := net.Listen("tcp", x.address); err != nil {
			t.Logf("%s is not to be had here: %v", x.address, err)
			continue
		} else if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		c := config(t)
		c.Web.ListenAddress, c.Web.ConfigFile = x.address, x.file
		d := start(t, c)
		_, port, err := net.SplitHostPort(d.addr)
		if err != nil {
			t.Fatal(err)
		}
		host, _, _ := net.SplitHostPort(x.address)
		if host == "" || host == "0.0.0.0" {
			host = "127.0.0.1"
		}
		resp, err := http.Get("http://" + net.JoinHostPort(host, port) + "/-/healthy") // it is past the warning then
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := strings.Contains(d.logs.String(), warning); got != x.warns {
			t.Errorf("%s with %q: warned %t", x.address, x.file, got)
		}
	}
}
