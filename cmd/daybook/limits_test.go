package main_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// answered is what the tests look at of a listing.
type answered struct {
	Invocations []struct {
		TaskID string `json:"task_id"`
	} `json:"invocations"`
	NextCursor *string `json:"next_cursor"`
	Complete   bool    `json:"complete"`
}

func (p *process) list(query string) (code int, a answered) {
	p.t.Helper()
	code, body := p.get("/api/v1/invocations?" + query)
	if code == http.StatusOK {
		if err := json.Unmarshal(body, &a); err != nil {
			p.t.Fatalf("%s: %v: %s", query, err, body)
		}
	}
	return code, a
}

// TestQueryLimits has a day whose scan never ends: the timeout ends it in the
// middle of its statement, what was found before is answered, and who comes
// meanwhile is sent away.
func TestQueryLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	var lines [][]byte
	for i := range 5 {
		at := today.Add(-time.Duration(1+i/3)*24*time.Hour + time.Duration(i)*time.Second) // three and two
		lines = append(lines, fmt.Appendf(nil, `{"task_id":"t%d","task_name":"n","state":"SUCCESS","finished_at":%d}`, i, at.Unix()))
	}
	p.mustPost("/api/v1/invocations", lines)
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	p.quit()
	endless(t, filepath.Join(dir, "days", today.Add(-48*time.Hour).Format(time.DateOnly)+".db"))

	p = serve(t, dir, "--storage.read-only", "--query.timeout=1500ms", "--query.max-concurrent=1")
	if code, a := p.list("limit=10&from=-4d"); code != http.StatusOK || len(a.Invocations) != 3 || a.Complete || a.NextCursor == nil {
		t.Errorf("rows and then nothing: %d %+v", code, a)
	}
	slow := make(chan int, 1)
	go func() {
		code, _, err := p.do(http.MethodGet, "/api/v1/invocations?min_retries=5&from=-4d", nil)
		if err != nil {
			code = -1
		}
		slow <- code
	}()
	eventually(t, "one query too many is refused", func() error {
		if code, _ := p.get("/api/v1/invocations?limit=1"); code != http.StatusTooManyRequests {
			select {
			case code := <-slow:
				t.Fatalf("the slow query ended with %d and nobody was refused", code)
			default:
			}
			return fmt.Errorf("%d", code)
		}
		return nil
	})
	if code := <-slow; code != http.StatusGatewayTimeout {
		t.Errorf("nothing found in time: %d", code)
	}
	if code, _ := p.get("/api/v1/count?min_retries=5&from=-4d"); code != http.StatusGatewayTimeout {
		t.Errorf("counting rows without end: %d", code)
	}
	// The page that the newest day fills does not notice.
	if code, a := p.list("limit=2"); code != http.StatusOK || len(a.Invocations) != 2 || !a.Complete || a.NextCursor == nil {
		t.Errorf("the newest day: %d %+v", code, a)
	}
}

// endless makes every scan of a day's rows one that goes on for ever and finds
// nothing.
func endless(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		"ALTER TABLE invocation RENAME TO there",
		"CREATE VIEW invocation AS SELECT there.* FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c) AS c CROSS JOIN there WHERE c.x < 0",
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
}
