package api_test

import (
	"compress/gzip"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func micros(d time.Duration) int64 { return testNow.Add(d).UnixMicro() }

func TestFilters(t *testing.T) {
	f := newFake()
	h := newAPI(f)
	w := do(h, request("GET", "/api/v1/invocations?task_name=a.*&task=b&state=success&state=FAILURE&worker=w1&worker=w2"+
		"&queue=q&worker_group=g&exception=E&root=r&task_id=t&from=-7d&to=now&min_runtime_ms=1.5&max_runtime_ms=20"+
		"&min_retries=2&open=true&min_age=10m&order=oldest&details=false&limit=7&cursor=", ""))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	q := f.query
	if len(q.TaskNames) != 2 || !slices.Contains(q.TaskNames, "a.*") || !slices.Contains(q.TaskNames, "b") || len(q.States) != 2 || q.States[1] != task.StateFailure || len(q.Workers) != 2 ||
		q.Queues[0] != "q" || q.WorkerGroup != "g" || q.ExceptionType != "E" || q.RootID != "r" || q.TaskID != "t" ||
		q.From != micros(-7*24*time.Hour) || q.To != micros(0) || !q.HasMinRuntime || q.MinRuntime != 1500 || !q.HasMaxRuntime || q.MaxRuntime != 20000 ||
		q.MinRetries != 2 || !q.Open || q.OpenBefore != micros(-10*time.Minute) || !q.Oldest || q.Details || q.Limit != 7 {
		t.Errorf("%+v", q)
	}
	do(h, request("GET", "/api/v1/invocations?limit=&from=&state=&open=", ""))
	if q := f.query; q.Limit != 50 || !q.Details || q.Oldest || q.From != 0 || q.To != 0 || q.States != nil || q.HasMinRuntime || q.Open {
		t.Errorf("without parameters: %+v", q)
	}
	for text, want := range map[string]int64{
		"1795435200":                          1795435200e6,
		"1795435200.25":                       1795435200250000,
		"2026-11-23T11:00:00Z":                micros(-time.Hour),
		"2026-11-23T12%3A00%3A00%2B01%3A00":   micros(-time.Hour),
		"2026-11-23T12:00:00+01:00":           micros(-time.Hour),
		"-1h":                                 micros(-time.Hour),
		"-90m":                                micros(-90 * time.Minute),
		"now":                                 micros(0),
		"0":                                   0,
		"-200y":                               0,
		"2026-11-23T10:59:59.9999999%2B00:00": 1795431599999999,
	} {
		if w := do(h, request("GET", "/api/v1/invocations?from="+text, "")); w.Code != http.StatusOK || f.query.From != want {
			t.Errorf("from=%s: %d, %d; want %d", text, w.Code, f.query.From, want)
		}
	}
}

func TestMalformedParameters(t *testing.T) {
	h := newAPI(newFake())
	for _, q := range []string{
		"x=1", "q=%22open", "limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=ten", "limit=5&limit=6", "limit=99999999999999999999",
		"order=up", "details=perhaps", "open=2", "state=PENDING", "state=SUCCESS&state=x", "from=yesterday", "from=-1x", "from=-", "from=1e400",
		"from=NaN", "to=0", "to=-99y", "from=-1h&to=-2h", "min_runtime_ms=-1", "min_runtime_ms=x", "max_runtime_ms=Inf", "min_runtime_ms=NaN",
		"min_retries=-1", "min_retries=1.5", "min_retries=99999999999", "min_age=10", "min_age=-1h", "task_id=a&task_id=b",
		"exception=A&exception_type=B", "root=A&root_id=B", "cursor=x", "cursor=%00", "cursor=AAAA", "from=%zz", "a;b=c", "worker_group=a&worker_group=a",
	} {
		w := do(h, &http.Request{Method: "GET", URL: &url.URL{Path: "/api/v1/invocations", RawQuery: q}})
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", q, w.Code, w.Body)
			continue
		}
		errorOf(t, w)
	}
}

// TestIDsInPaths has ids that path cleaning would change.
func TestIDsInPaths(t *testing.T) {
	for path, id := range map[string]string{
		"a": "a", "a%2Fb": "a/b", "a/b": "a/b", "a%2F%2Fb": "a//b", "a//b": "a//b", "..": "..", "%2E%2E": "..", ".": ".",
		"a%20b": "a b", "a+b": "a+b", "%25": "%", "%3Fx": "?x", "%C3%A9": "é", "a/": "a/", "%00": "\x00", "a%23b": "a#b",
	} {
		r, err := http.NewRequest("GET", "http://h/api/v1/invocations/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := do(newAPI(newFake()), r)
		want := string(task.AppendJSONString([]byte(`{"task_id":`), id))
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), want+",") {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	f := newFake()
	f.health = tsdb.Health{CanStore: true, Reasons: []string{"disk"}, Rows: 9, RowsExact: true, Oldest: 1500000, DiskUsagePct: 12.345, DroppedTotal: 3}
	f.cut = tsdb.CutResult{Rows: 5, Days: []string{"2026-11-22"}}
	f.progress = tsdb.Progress{Ready: true}
	h := newAPI(f, func(c *api.Config) { c.EnableAdmin = true })
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/api/v1/blocks", `{"blocks":[{"kind":"head","day":null,"path":null,"generation":0,"rows":2,"rows_exact":true,"bytes":10,"oldest":null,"newest":null,"gaps":0},` +
			`{"kind":"day","day":"2026-11-22","path":"days/2026-11-22.db","generation":1,"rows":7,"rows_exact":true,"bytes":4096,"oldest":1.5,"newest":2,"gaps":0}]}`},
		{"GET", "/healthz", `{"status":"degraded","reasons":["disk"],"head_records":0,"head_bytes":0,"rows":9,"rows_exact":true,"oldest":1.5,` +
			`"dropped_total":3,"rejected_total":0,"wal_bytes":0,"disk_usage_pct":12.35,"disk_free_bytes":0,"brokers":[]}`},
		{"GET", "/api/v1/status/flags", `{"flags":{"storage.path":"./data"}}`},
		{"GET", "/api/v1/status/buildinfo", `{"version":"1"}`},
		{"POST", "/api/v1/admin/cut", `{"rows":5,"days":["2026-11-22"]}`},
		{"POST", "/api/v1/admin/snapshot", `{"path":"snapshots/20261123T120000Z","files":["days/2026-11-22.db"]}`},
		{"GET", "/-/ready", `{"status":"ready"}`},
		{"GET", "/api/v1/invocations", `{"invocations":[],"next_cursor":null,"complete":true,"coverage":{"from":null,"to":null,"retention_from":null,"complete":false,"gaps":[],"unreadable":[]}}`},
	} {
		if w := do(h, request(c.method, c.path, "")); w.Code != http.StatusOK || w.Body.String() != c.want+"\n" {
			t.Errorf("%s: %d\n%swant\n%s", c.path, w.Code, w.Body, c.want)
		}
	}
	f.leftOut = []string{"days/2026-11-21.db"}
	if w := do(h, request("POST", "/api/v1/admin/snapshot", "")); !strings.HasSuffix(w.Body.String(), `],"unreadable":["days/2026-11-21.db"]}`+"\n") {
		t.Error(w.Body)
	}
	f.progress = tsdb.Progress{Done: 3, Total: 9}
	if w := do(h, request("GET", "/-/ready", "")); !strings.Contains(w.Body.String(), `"replayed_bytes":3,"total_bytes":9`) {
		t.Errorf("%s", w.Body)
	}
}

// TestGzip reads a large answer compressed and not.
func TestGzip(t *testing.T) {
	f := newFake()
	page := tsdb.Page{Complete: true}
	for i := range 1000 {
		page.Invocations = append(page.Invocations, task.Invocation{TaskID: strings.Repeat("x", 1+i%50), Args: strings.Repeat("y", 300), State: task.StateSent, UpdatedAt: 1e6})
	}
	f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) { return page, nil }
	h := newAPI(f)
	plain := do(h, request("GET", "/api/v1/invocations", ""))
	for _, accept := range []string{"gzip", "br, gzip;q=0.5", "*", "GZIP", "deflate, gzip ; q=1.0"} {
		w := do(h, request("GET", "/api/v1/invocations", "", "Accept-Encoding", accept))
		if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: not compressed", accept)
			continue
		}
		r, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if readAll(t, r) != plain.Body.String() {
			t.Errorf("%s: not the same answer", accept)
		}
	}
	for _, accept := range []string{"", "br", "gzip;q=0", "*;q=0", "identity"} {
		if w := do(h, request("GET", "/api/v1/invocations", "", "Accept-Encoding", accept)); w.Header().Get("Content-Encoding") != "" {
			t.Errorf("%q: compressed", accept)
		}
	}
}
