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
	"regexp"
	"strings"
	"testing"
)

// TestQuery asks the same of a daemon and of its files.
func TestQuery(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := "--storage.path=" + dir
	p := serve(t, dir, append(anyTime, "--head.settle=0s", "--head.cut-interval=1h", "--head.open-timeout=36500d")...)
	events := capture(t)
	p.mustPost("/api/v1/events", events[:len(events)/2])
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	p.mustPost("/api/v1/events", events[len(events)/2:]) // some in the head, some of sealed rows
	for i, args := range [][]string{
		{"--limit=0"}, {"--limit=7", "--order=oldest"}, {"--task=shop.*", "--task-name=math.add", "--limit=0"},
		{"--state=failure", "--state=RETRY"}, {"--exception=ValueError", "--no-details"}, {"--q=42"}, {"--open", "--min-age=1h"},
		{"--worker-group=nobody"}, {"--from=2026-11-23", "--to=2026-11-24T00:00:00Z", "--min-runtime-ms=0.5", "--max-runtime-ms=1000"}, {"--min-retries=1"},
		{"--root=7a7e6e17-c267-408b-a931-560a6b5d3077"}, {"--task-id=7a7e6e17-c267-408b-a931-560a6b5d3077"}, {"--from=2027-01-01"},
	} {
		formats := []string{"ndjson", "csv", "table"}
		if i > 0 { // what is found has nothing to do with how it is printed
			formats = formats[i%3 : i%3+1]
		}
		for _, format := range formats {
			args := append([]string{"query", at, "--format=" + format}, args...)
			online, said, code := command(t, nil, append(args, "--url="+p.url)...)
			if code != 0 || !strings.Contains(said, "asking the daemon at "+p.url) {
				t.Fatalf("%v: exit code %d: %s", args, code, said)
			}
			offline, said, code := command(t, nil, append(args, "--url=http://127.0.0.1:1")...)
			if code != 0 || !strings.Contains(said, "no daemon answers at http://127.0.0.1:1: reading the files in "+dir) {
				t.Fatalf("%v: exit code %d: %s", args, code, said)
			}
			if online != offline {
				t.Errorf("%v: the daemon and its files say different things:\n%.2000s\n%.2000s", args, online, offline)
			}
		}
	}
	if out := tool(t, "query", at, "--url="+p.url, "--root-id=7a7e6e17-c267-408b-a931-560a6b5d3077"); strings.Count(out, "\n") != 3 {
		t.Errorf("a chain of three: %s", out)
	}
	// Page by page with cursors, of one and of the other, is all of it.
	all := tool(t, "query", at, "--url=", "--limit=0")
	if n := strings.Count(all, "\n"); n != len(merged(t, events)) {
		t.Errorf("%d invocations, want %d", n, len(merged(t, events)))
	}
	more := regexp.MustCompile(`--cursor=(\S+)`)
	var walked strings.Builder
	cursor := ""
	for i := 0; ; i++ {
		url := p.url
		if i%2 == 1 {
			url = ""
		}
		out, said, code := command(t, nil, "query", at, "--url="+url, "--limit=100", "--cursor="+cursor)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, said)
		}
		walked.WriteString(out)
		m := more.FindStringSubmatch(said)
		if m == nil {
			break
		}
		cursor = m[1]
	}
	if walked.String() != all {
		t.Error("cursors do not lead to the same as --limit=0")
	}
	for _, args := range [][]string{{"--state=DONE"}, {"--from=tomorrow"}, {"--from=2027-01-01", "--to=2026-01-01"}, {"--cursor=x"}, {"--min-retries=-1"},
		{"--order=best"}, {"--q=\""}, {"--format=xml"}, {"--url=nowhere"}, {"--url.ca-file=/nowhere"}} {
		if out, said, code := command(t, nil, append([]string{"query", at, "--url=" + p.url}, args...)...); code != 2 || out != "" || said == "" {
			t.Errorf("%v: exit code %d: %s", args, code, said)
		}
	}
	p.quit()
	if after := tool(t, "query", at, "--url="+p.url, "--limit=0"); after != all {
		t.Error("without the daemon it is something else")
	}
	if _, said, code := command(t, nil, "query", "--url=", "--storage.path="+filepath.Join(dir, "nope")); code != 1 || !strings.Contains(said, "no data directory") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// TestQueryPages walks over more than a page has, and says what is not covered.
func TestQueryPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir, anyTime...)
	var lines [][]byte
	for i := range 2500 {
		lines = append(lines, fmt.Appendf(nil, `{"task_id":"id-%d","task_name":"t","finished_at":%d}`, i, 1795435200+i%2000))
	}
	p.mustPost("/api/v1/invocations", lines)
	for limit, want := range map[string]int{"0": 2500, "1001": 1001, "2500": 2500, "9999": 2500} {
		if out := tool(t, "query", "--url="+p.url, "--limit="+limit, "--storage.path="+dir); strings.Count(out, "\n") != want {
			t.Errorf("--limit=%s: %d lines", limit, strings.Count(out, "\n"))
		}
	}
	p.quit()
	if err := os.WriteFile(filepath.Join(dir, "days", "2026-11-20.db"), []byte("no database"), 0o444); err != nil {
		t.Fatal(err)
	}
	if _, said, code := command(t, nil, "query", "--url=", "--storage.path="+dir); code != 0 || !strings.Contains(said, "2026-11-20.db cannot be read") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// TestQueryDaemons meets what else may answer at an address.
func TestQueryDaemons(t *testing.T) {
	t.Parallel()
	dir := emptyData(t)
	at := "--storage.path=" + dir
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if _, said, code := command(t, nil, "query", at, "--url="+other.URL); code != 0 || !strings.Contains(said, "is no daemon of this kind (404 Not Found") || !strings.Contains(said, "reading the files") {
		t.Errorf("exit code %d: %s", code, said)
	}
	tries := 0
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch tries++; {
		case user != "u" || password != "p@ss":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"who are you?"}`)
		case tries%2 == 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"error":"too many queries"}`)
		default:
			fmt.Fprint(w, `{"invocations":[{"task_id":"x","state":"SUCCESS","finished_at":5}],"next_cursor":null,"complete":false,"coverage":{"from":1,"to":null,`+
				`"retention_from":7.5,"complete":false,"gaps":[{"from":1,"to":2.5,"cause":"down","count":3},`+
				`{"from":1,"to":2.5,"source":"redis://a/0","cause":"broker lost","count":0},{"from":1,"to":2.5,"source":"redis://b/0","cause":"broker lost","count":4}],"unreadable":["2026-11-19.db"],"inexact":true}}`)
		}
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	secure.StartTLS()
	defer secure.Close()
	withUser := strings.Replace(secure.URL, "https://", "https://u:p%40ss@", 1)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, trust := range []string{"--url.ca-file=" + ca, "--url.insecure"} {
		tries = 0
		out, said, code := command(t, nil, "query", at, "--url="+withUser, trust, "--from=1")
		if code != 0 || !strings.HasPrefix(out, `{"task_id":"x","state":"SUCCESS","finished_at":5,`) || strings.Contains(said, "p@ss") || strings.Contains(said, "p%40ss") {
			t.Errorf("%s: exit code %d: %s%s", trust, code, out, said)
		}
		for _, want := range []string{"the time limit ended", "rows moved while", "2026-11-19.db cannot be read", "00:00:01.000Z to 1970-01-01T00:00:02.500Z, down, 3 missing\n",
			"02.500Z, broker lost (redis://a/0)\n", "02.500Z, broker lost (redis://b/0), 4 missing\n", "1970-01-01T00:00:07.500Z is not kept"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: it does not say %q: %s", trust, want, said)
			}
		}
	}
	if _, said, code := command(t, nil, "query", at, "--url="+withUser); code != 1 || !strings.Contains(said, "certificate") || strings.Contains(said, "p%40ss") {
		t.Errorf("an authority that nobody knows: exit code %d: %s", code, said)
	}
	if _, said, code := command(t, nil, "query", at, "--url="+secure.URL, "--url.insecure"); code != 1 || !strings.Contains(said, "user:password@") {
		t.Errorf("without a password: exit code %d: %s", code, said)
	}
}
