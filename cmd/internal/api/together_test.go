package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"daybook/cmd/internal/api"
)

// TestTogether has everything happen at once over HTTP on a real database: clients
// write and read what they have just written, others ask all that can be asked, and
// days are cut, sealed, sealed again and snapshotted. Every answer is one, and at the
// end everything is there, once. It is meant for the race detector.
func TestTogether(t *testing.T) {
	srv := engine(t, func(c *api.Config) { c.EnableAdmin, c.QueryMaxConcurrent, c.QueryTimeout = true, 16, time.Minute })
	const writers, requests, lines = 3, 12, 20
	do := func(method, path, body string) string {
		code, got := fetch(t, srv, method, path, body)
		if code != http.StatusOK {
			t.Errorf("%s %s: %d %.300s", method, path, code, got)
		}
		return got
	}
	var old strings.Builder // of days that nobody touches any more
	const before = 6
	for i := range before {
		fmt.Fprintf(&old, `{"task_id":"old-%d","task_name":"n1","finished_at":%d}`+"\n", i, testNow.Unix()-int64(4+i%2)*24*3600)
	}
	do("POST", "/api/v1/invocations", old.String())
	do("POST", "/api/v1/admin/cut?seal=true", "")
	stop := make(chan struct{})
	over := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var writing, others sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for r := range requests {
				var b strings.Builder
				for i := range lines { // of three days, some of them open, some of a request before
					fmt.Fprintf(&b, `{"task_id":"w%d-%d","task_name":"n%d","%s":%d,"worker":"w@h","args":"word%d"}`+"\n",
						w, r*lines/2+i, i%3, [...]string{"finished_at", "started_at"}[i%5/4], testNow.Unix()-60-int64(i%3)*24*3600, i)
				}
				path := "/api/v1/invocations"
				do("POST", path, b.String())
				id := fmt.Sprintf("w%d-%d", w, r*lines/2+lines-1)
				if got := do("GET", path+"/"+id, ""); !strings.Contains(got, id) {
					t.Errorf("%s is not what was asked for: %s", id, got)
				}
				if got := do("GET", path+"?task_id="+id, ""); strings.Count(got, `{"task_id":`) != 1 {
					t.Errorf("%s is written and not listed once: %s", id, got)
				}
			}
		})
	}
	for _, path := range []string{"/api/v1/invocations?limit=30", "/api/v1/invocations?q=word7&order=oldest&details=false", "/api/v1/count?by=state", "/api/v1/count?by=worker&step=3600",
		"/api/v1/tasks?from=-9d", "/api/v1/tasks/n1/series?from=-9d&step=3600", "/api/v1/tasks/n1?from=2026-11-18&to=-1h", "/api/v1/workflows/w0-1", "/api/v1/blocks", "/healthz"} {
		others.Go(func() {
			for !over() {
				code, got := fetch(t, srv, "GET", path, "")
				if code != http.StatusOK && (code != http.StatusNotFound || !strings.Contains(path, "workflows")) || !json.Valid([]byte(got)) {
					t.Errorf("%s: %d %.300s", path, code, got)
				}
			}
		})
	}
	others.Go(func() {
		for n := 0; !over(); n++ {
			do("POST", [...]string{"/api/v1/admin/cut", "/api/v1/admin/cut?seal=true", "/api/v1/admin/snapshot"}[n%3], "")
		}
	})
	writing.Wait()
	close(stop)
	others.Wait()

	const all = before + writers*(requests+1)*lines/2
	for _, when := range []string{"after all", "cut"} {
		if got := do("GET", "/api/v1/count", ""); !strings.HasPrefix(got, fmt.Sprintf(`{"count":%d,`, all)) {
			t.Errorf("%s: not %d: %s", when, all, got)
		}
		if got := do("GET", "/api/v1/invocations?limit=1000&details=false", ""); strings.Count(got, `{"task_id":`) != all || !strings.Contains(got, `"next_cursor":null`) {
			t.Errorf("%s: %d are listed of %d", when, strings.Count(got, `{"task_id":`), all)
		}
		do("POST", "/api/v1/admin/cut?seal=true", "")
	}
}
