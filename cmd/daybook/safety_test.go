package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecrets wants no byte of a secret on disk, and dumps that come back the
// same.
func TestSecrets(t *testing.T) {
	t.Parallel()
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	flags := []string{`--ingest.redact=sk-\w+`, "--ingest.redact-keys=password,token"}
	first := serve(t, dirs[0], flags...)
	at, day := time.Now().Unix(), time.Now().UTC().Format(time.DateOnly)
	var body strings.Builder
	for i := range 50 {
		fmt.Fprintf(&body, `{"task_id":"t%d","task_name":"n","started_at":%d,"finished_at":%d,"exception_type":"E","exception_message":"bad key sk-hunter2",`, i, at, at)
		fmt.Fprintf(&body, `"args":["{\"password\": \"hunter2\"}"],"kwargs":"{'db_password': 'hunter2', 'fill': '%s', 'token': 'hunter2'}",`, strings.Repeat("x", 8100+i))
		fmt.Fprintf(&body, `"result":{"a":{"token":["hunter2"]}},"traceback":"  login(password='hunter2')\n"}`+"\n")
	}
	if code, answer, err := first.do(http.MethodPost, "/api/v1/invocations", []byte(body.String())); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, answer, err)
	}
	if _, flags := first.get("/api/v1/status/flags"); strings.Contains(string(flags), `sk-\`) || !strings.Contains(string(flags), `"ingest.redact":"1 given"`) || strings.Contains(string(flags), `"wal.max-bytes":""`) {
		t.Errorf("%s", flags)
	}
	first.quit()
	err := filepath.WalkDir(dirs[0], func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "hunter2") {
			t.Errorf("%s has a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	dump := tool(t, "dump", "--storage.path="+dirs[0], day)
	if strings.Contains(dump, "hunter2") || strings.Count(dump, "[redacted]") < 250 {
		t.Errorf("%.2000s", dump)
	}
	second := serve(t, dirs[1], flags...)
	if code, answer, err := second.do(http.MethodPost, "/api/v1/invocations", []byte(dump)); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, answer, err)
	}
	second.quit()
	if again := tool(t, "dump", "--storage.path="+dirs[1], day); again != dump {
		t.Error("the dump is not the same after it was imported")
	}
}

// TestUnsafeOptions wants options that cannot work refused with 2, before
// anything happens.
func TestUnsafeOptions(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("basic_auth_users: {ada: enchantress}"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	for _, flag := range []string{"--web.config.file=" + file, "--web.config.file=/no/such", "--ingest.redact=(", "--ingest.redact=a*", "--ingest.redact-keys=pass word", "--celery.broker=foo://x", "--celery.broker=redis://u:hunter2@:x/"} {
		_, stderr, code := command(t, nil, "serve", "--storage.path="+dir, "--web.listen-address=127.0.0.1:0", flag)
		name, _, _ := strings.Cut(flag, "=")
		if code != 2 || !strings.Contains(stderr, name) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: exit code %d: %s", flag, code, stderr)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the data directory was made nevertheless")
	}
}
