package main_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportTrust imports into a daemon whose certificate nobody knows.
func TestImportTrust(t *testing.T) {
	t.Parallel()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "p@ss" {
			http.Error(w, `{"error":"a name and a password are needed"}`, http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"accepted":1}`)
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	secure.StartTLS()
	defer secure.Close()
	withUser := strings.Replace(secure.URL, "https://", "https://u:p%40ss@", 1)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--url=" + withUser, "--url.ca-file=" + ca}, 0, ""},
		{[]string{"--url=" + withUser, "--url.insecure"}, 0, ""},
		{[]string{"--url=" + withUser}, 1, "daybook: -: lines 1 to 1: "},
		{[]string{"--url=" + secure.URL, "--url.insecure"}, 1, "give user:password@ in --url"},
		{[]string{"--url=" + withUser, "--url.ca-file=/nowhere"}, 2, "--url.ca-file"},
	} {
		out, said, code := command(t, strings.NewReader("{}\n"), append([]string{"import", "-"}, x.args...)...)
		if code != x.code || !strings.Contains(said, x.says) || code == 0 && !strings.Contains(out, `"accepted":1`) || strings.Contains(said, "p@ss") || strings.Contains(said, "p%40ss") {
			t.Errorf("%q: exit code %d: %s%s", x.args, code, out, said)
		}
	}
}
