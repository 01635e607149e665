package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportNeedsADaybook: what the answer does not account for is not taken in.
func TestImportNeedsADaybook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.ndjson")
	if err := os.WriteFile(file, []byte("{}\n{}\n{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listing := func(w http.ResponseWriter) { fmt.Fprint(w, `{"invocations":[]}`) }
	// moved answers a POST with a redirect, and a GET as the listing.
	moved := func(to string, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				listing(w)
				return
			}
			http.Redirect(w, r, to, code)
		}
	}
	for name, x := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"moved":          {moved("https://u:s3cret@db.example/x", http.StatusMovedPermanently), "https://u:xxxxx@db.example/x"},
		"found":          {moved("/there", http.StatusFound), "/there"},
		"something else": {func(w http.ResponseWriter, _ *http.Request) { listing(w) }, "3 were sent"},
		"too few":        {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"accepted":2}`) }, "3 were sent"},
	} {
		s := httptest.NewServer(x.answer)
		defer s.Close()
		client, err := newImportClient(s.URL, trustFlags{})
		if err != nil {
			t.Fatal(err)
		}
		im := importer{client: client, errors: os.Stderr, progress: newProgress(os.Stderr)}
		if err := im.files(context.Background(), []string{file}); err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "s3cret") || im.sum.Accepted != 0 {
			t.Errorf("%s: %v, %+v", name, err, im.sum)
		}
	}
}
