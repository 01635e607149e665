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

// TestGapsAreTold has "it never ran" and "nobody was there" told apart, also
// after two crashes, by every tool.
func TestGapsAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir)
	p.kill()
	seen := time.Now().Add(-30 * time.Minute).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(dir, "LOCK"), seen, seen); err != nil {
		t.Fatal(err)
	}
	p = serve(t, dir)
	if code, body, err := p.do(http.MethodPost, "/api/v1/invocations", []byte(fmt.Sprintf(`{"task_id":"x","state":"SUCCESS","finished_at":%d}`, time.Now().Add(5*time.Hour).Unix()))); err != nil || code != http.StatusBadRequest {
		t.Fatal(code, string(body), err)
	}
	told := func() {
		t.Helper()
		_, body := p.get("/api/v1/invocations?from=-1h")
		for _, want := range []string{
			fmt.Sprintf(`{"from":%d,"to":`, seen.Unix()), `"source":"daemon","cause":"daemon down","count":0}`,
			`"source":"clock","cause":"refused: too far ahead","count":1}`, `"complete":false,"gaps":[`} {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s is not in %s", want, body)
			}
		}
		if _, body := p.get("/api/v1/count?from=-2h&to=-1h"); !strings.Contains(string(body), `"complete":true,"gaps":[]`) {
			t.Errorf("an hour without gaps: %s", body)
		}
	}
	told()
	eventually(t, "the gaps are stored or logged", func() error {
		// Nothing else is written: kill -9 must find them on disk.
		out := tool(t, "verify", "--storage.path="+dir)
		if strings.Contains(out, "refused: too far ahead") {
			return nil
		}
		return fmt.Errorf("verify: %s", out)
	})
	p.kill()
	p = serve(t, dir)
	told()
	p.quit()
	at := "--storage.path=" + dir
	if out := tool(t, "verify", at); strings.Count(out, "note: ") < 2 || strings.Count(out, ": daemon down (daemon), records missing: not known") != 1 ||
		strings.Count(out, ": refused: too far ahead (clock), records missing: 1") != 1 {
		t.Errorf("verify: %s", out)
	}
	gaps := 0
	for _, line := range strings.Split(tool(t, "ls", at), "\n")[1:] {
		if f := strings.Fields(line); len(f) > 2 {
			var n int
			if _, err := fmt.Sscan(f[len(f)-2], &n); err != nil {
				t.Fatalf("ls: %s", line)
			}
			gaps += n
		}
	}
	if gaps != 2 {
		t.Errorf("ls counts %d gaps:\n%s", gaps, tool(t, "ls", at))
	}
}
