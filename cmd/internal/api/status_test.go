package api_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

const goodLine = `{"task_id":"a","sent_at":1795435200}` + "\n"

func zip(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstandard(t testing.TB, text string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(text), nil))
}

// TestStatus has a request for every status that the contract names.
func TestStatus(t *testing.T) {
	const post, events, list = "/api/v1/invocations", "/api/v1/events", "/api/v1/invocations"
	fails := func(err error) func(*fake) {
		return func(f *fake) {
			f.appendFn = func(context.Context, []tsdb.Record) (tsdb.Appended, error) { return tsdb.Appended{}, err }
			f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) { return tsdb.Page{}, err }
			f.getErr, f.err = err, err
		}
	}
	admin := func(c *api.Config) { c.EnableAdmin = true }
	readOnly := func(c *api.Config) { c.ReadOnly = true }
	bomb := strings.Repeat(" ", 2<<20)
	for name, c := range map[string]struct {
		r      *http.Request
		store  func(*fake)
		config func(*api.Config)
		want   int
		says   string
		header [2]string
	}{
		"unknown path":              {r: request("GET", "/nope", ""), want: 404},
		"root":                      {r: request("GET", "/", ""), want: 404},
		"no id":                     {r: request("GET", "/api/v1/invocations/", ""), want: 404},
		"metrics":                   {r: request("GET", "/metrics", ""), want: 404},
		"unknown id":                {r: request("GET", "/api/v1/invocations/x", ""), store: fails(tsdb.ErrNotFound), want: 404, says: "no such invocation"},
		"known id":                  {r: request("GET", "/api/v1/invocations/x", ""), want: 200},
		"admin off":                 {r: request("POST", "/api/v1/admin/cut", ""), want: 404},
		"admin on":                  {r: request("POST", "/api/v1/admin/cut?seal=true", ""), config: admin, want: 200},
		"admin get":                 {r: request("GET", "/api/v1/admin/cut", ""), config: admin, want: 405, header: [2]string{"Allow", "POST"}},
		"admin parameter":           {r: request("POST", "/api/v1/admin/cut?seel=true", ""), config: admin, want: 400, says: "seel"},
		"admin value":               {r: request("POST", "/api/v1/admin/cut?seal=maybe", ""), config: admin, want: 400, says: "maybe"},
		"snapshot off":              {r: request("POST", "/api/v1/admin/snapshot", ""), want: 404},
		"snapshot":                  {r: request("POST", "/api/v1/admin/snapshot", ""), config: admin, want: 200},
		"snapshot, parameter":       {r: request("POST", "/api/v1/admin/snapshot?to=/etc", ""), config: admin, want: 400, says: "to"},
		"snapshot, full disk":       {r: request("POST", "/api/v1/admin/snapshot", ""), store: fails(errors.New("no space left on device")), config: admin, want: 503},
		"delete list":               {r: request("DELETE", list, ""), want: 405, header: [2]string{"Allow", "GET, HEAD, POST"}},
		"get events":                {r: request("GET", events, ""), want: 405, header: [2]string{"Allow", "POST"}},
		"post blocks":               {r: request("POST", "/api/v1/blocks", ""), want: 405, header: [2]string{"Allow", "GET, HEAD"}},
		"put id":                    {r: request("PUT", "/api/v1/invocations/x", ""), want: 405, header: [2]string{"Allow", "GET, HEAD"}},
		"head":                      {r: request("HEAD", "/healthz", ""), want: 200},
		"read-only post":            {r: request("POST", post, goodLine), config: readOnly, want: 405, says: "read-only", header: [2]string{"Allow", "GET, HEAD"}},
		"read-only events":          {r: request("POST", events, goodLine), config: readOnly, want: 405, says: "read-only"},
		"read-only store":           {r: request("POST", post, goodLine), store: fails(tsdb.ErrReadOnly), want: 405},
		"empty body":                {r: request("POST", post, ""), want: 200},
		"good":                      {r: request("POST", post, goodLine), want: 200},
		"only bad lines":            {r: request("POST", post, "nope\n{}\n"), want: 400},
		"write parameter":           {r: request("POST", post+"?a=b", goodLine), want: 400, says: `unknown parameter "a"`},
		"encoding":                  {r: request("POST", post, goodLine, "Content-Encoding", "br"), want: 415, says: "br"},
		"two encodings":             {r: request("POST", post, goodLine, "Content-Encoding", "gzip, gzip"), want: 415},
		"identity":                  {r: request("POST", post, goodLine, "Content-Encoding", "identity"), want: 200},
		"any content type":          {r: request("POST", post, goodLine, "Content-Type", "image/png"), want: 200},
		"gzip":                      {r: request("POST", post, zip(t, goodLine), "Content-Encoding", "GZIP"), want: 200},
		"truncated gzip":            {r: request("POST", post, zip(t, goodLine)[:20], "Content-Encoding", "gzip"), want: 400, says: "cut short"},
		"no gzip":                   {r: request("POST", post, goodLine, "Content-Encoding", "gzip"), want: 400},
		"empty gzip":                {r: request("POST", post, "", "Content-Encoding", "gzip"), want: 400},
		"zstd":                      {r: request("POST", post, zstandard(t, goodLine), "Content-Encoding", "zstd"), want: 200},
		"truncated zstd":            {r: request("POST", post, zstandard(t, strings.Repeat(goodLine, 50))[:30], "Content-Encoding", "zstd"), want: 400},
		"no zstd":                   {r: request("POST", post, goodLine, "Content-Encoding", "zstd"), want: 400},
		"too large":                 {r: request("POST", post, bomb), want: 413, says: "max-body"},
		"gzip bomb":                 {r: request("POST", post, zip(t, bomb), "Content-Encoding", "gzip"), want: 413},
		"zstd bomb":                 {r: request("POST", post, zstandard(t, bomb), "Content-Encoding", "zstd"), want: 413},
		"replay":                    {r: request("POST", post, goodLine), store: func(f *fake) { f.progress.Ready = false }, want: 503, header: [2]string{"Retry-After", "1"}},
		"replay, list":              {r: request("GET", list, ""), store: fails(tsdb.ErrNotReady), want: 503, header: [2]string{"Retry-After", "1"}},
		"overloaded":                {r: request("POST", post, goodLine), store: fails(tsdb.ErrOverloaded), want: 503, header: [2]string{"Retry-After", "1"}},
		"no memory":                 {r: request("POST", post, goodLine), store: func(f *fake) { f.reserve = func(int64) (func(), error) { return nil, tsdb.ErrOverloaded } }, want: 503, header: [2]string{"Retry-After", "1"}},
		"full disk":                 {r: request("POST", post, goodLine), store: fails(errors.New("no space left on device")), want: 503, says: "no space left", header: [2]string{"Retry-After", "5"}},
		"full disk, cut":            {r: request("POST", "/api/v1/admin/cut", ""), store: fails(errors.New("no space left on device")), config: admin, want: 503, header: [2]string{"Retry-After", "5"}},
		"damaged":                   {r: request("GET", "/api/v1/blocks", ""), store: fails(errors.New("disk I/O error")), want: 503},
		"closed":                    {r: request("GET", list, ""), store: fails(tsdb.ErrClosed), want: 503},
		"timeout":                   {r: request("GET", list, ""), store: fails(context.DeadlineExceeded), want: 504},
		"timeout of a write":        {r: request("POST", post, goodLine), store: fails(context.DeadlineExceeded), want: 504},
		"cannot store":              {r: request("GET", "/healthz", ""), store: func(f *fake) { f.health.CanStore = false }, want: 503, header: [2]string{"Retry-After", "5"}},
		"cannot store, read-only":   {r: request("GET", "/healthz", ""), store: func(f *fake) { f.health.CanStore = false }, config: readOnly, want: 200},
		"healthy":                   {r: request("GET", "/-/healthy", ""), store: func(f *fake) { f.health.CanStore = false }, want: 200},
		"ready":                     {r: request("GET", "/-/ready", ""), want: 200},
		"not ready":                 {r: request("GET", "/-/ready", ""), store: func(f *fake) { f.progress = tsdb.Progress{Done: 3, Total: 9} }, want: 503, says: "replayed"},
		"id with a parameter":       {r: request("GET", "/api/v1/invocations/x?a=1", ""), want: 400},
		"blocks with a parameter":   {r: request("GET", "/api/v1/blocks?a=1", ""), want: 400},
		"id that is not encoded ok": {r: &http.Request{Method: "GET", URL: mustURL("/api/v1/invocations/a%2Fb")}, want: 200},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			if c.store != nil {
				c.store(f)
			}
			config := func(*api.Config) {}
			if c.config != nil {
				config = c.config
			}
			w := do(newAPI(f, config), c.r)
			if w.Code != c.want {
				t.Fatalf("%d %s, want %d", w.Code, w.Body, c.want)
			}
			if ct := w.Header().Get("Content-Type"); ct != "application/json" {
				t.Errorf("Content-Type is %q", ct)
			}
			if c.header[0] != "" && w.Header().Get(c.header[0]) != c.header[1] {
				t.Errorf("%s is %q, want %q", c.header[0], w.Header().Get(c.header[0]), c.header[1])
			}
			if w.Code >= 400 && !strings.Contains(w.Body.String(), `"errors":`) && c.r.URL.Path != "/healthz" {
				if text := errorOf(t, w); !strings.Contains(text, c.says) {
					t.Errorf("the error is %q, should mention %q", text, c.says)
				}
			}
			if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
				t.Error("a 503 without Retry-After")
			}
		})
	}
}

// TestTooManyQueries fills all places with queries that wait.
func TestTooManyQueries(t *testing.T) {
	f := newFake()
	entered, leave := make(chan struct{}), make(chan struct{})
	f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) {
		entered <- struct{}{}
		<-leave
		return tsdb.Page{Complete: true}, nil
	}
	store := &serialFake{fake: f}
	h := newAPI(store, func(c *api.Config) { c.QueryMaxConcurrent = 1 })
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- do(h, request("GET", "/api/v1/invocations", "")) }()
	<-entered
	w := do(h, request("GET", "/api/v1/invocations", ""))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	errorOf(t, w)
	close(leave)
	if w := <-done; w.Code != http.StatusOK {
		t.Errorf("the first one got %d", w.Code)
	}
}

// serialFake does not note queries, so that they may run at once.
type serialFake struct{ *fake }

func (f *serialFake) Select(ctx context.Context, q tsdb.Query) (tsdb.Page, error) {
	return f.selectFn(ctx, q)
}

// TestTimeout has the time limit end a query with and without rows.
func TestTimeout(t *testing.T) {
	f := newFake()
	h := newAPI(f, func(c *api.Config) { c.QueryTimeout = time.Millisecond })
	rows := []task.Invocation{{TaskID: "a", State: task.StateSent, UpdatedAt: 1e6}}
	f.selectFn = func(ctx context.Context, _ tsdb.Query) (tsdb.Page, error) {
		<-ctx.Done()
		next := rows[0].Key()
		return tsdb.Page{Invocations: rows, Next: &next}, nil
	}
	w := do(h, request("GET", "/api/v1/invocations", ""))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"complete":false`) || strings.Contains(w.Body.String(), `"next_cursor":null`) {
		t.Errorf("with rows: %d %s", w.Code, w.Body)
	}
	f.selectFn = func(ctx context.Context, _ tsdb.Query) (tsdb.Page, error) {
		<-ctx.Done()
		return tsdb.Page{}, nil
	}
	if w := do(h, request("GET", "/api/v1/invocations", "")); w.Code != http.StatusGatewayTimeout {
		t.Errorf("without rows: %d %s", w.Code, w.Body)
	}
}

// What is not found may be where nothing is covered.
func TestNotFoundHasCoverage(t *testing.T) {
	f := newFake()
	f.getErr = &tsdb.NotFoundError{Coverage: tsdb.Coverage{RetentionFrom: 1e6, Unreadable: []string{"a.db"}, Inexact: true}}
	h := newAPI(f)
	for _, path := range []string{"/api/v1/invocations/x", "/api/v1/workflows/x"} {
		const want = `{"error":"no such invocation","coverage":{"from":null,"to":null,"retention_from":1,"complete":false,"gaps":[],"unreadable":["a.db"],"inexact":true}}`
		if w := do(h, request("GET", path, "")); w.Code != http.StatusNotFound || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// The last 24 hours are in the default range whole, and it begins with an hour
// and ends with a minute; a range with an end goes 24 hours back from there, and
// begins with an hour, too.
func TestDefaultRange(t *testing.T) {
	const minute, hour, day = 60_000_000, 60 * 60_000_000, 24 * 60 * 60_000_000
	f := newFake()
	past := 17*time.Minute + 42*time.Second
	now := testNow.Truncate(time.Hour).Add(past)
	h := newAPI(f, func(c *api.Config) { c.Now = func() time.Time { return now } })
	for _, path := range []string{"/api/v1/tasks", "/api/v1/tasks/t", "/api/v1/tasks/t/series", "/api/v1/count?step=60", "/api/v1/count?step=86400&by=state"} {
		ending := "?to=-1h"
		if strings.Contains(path, "?") {
			ending = "&to=-1h"
		}
		do(h, request("GET", path, ""))
		if from, to := f.query.From, f.query.To; from != now.Add(-past).UnixMicro()-day || to != from+day+18*minute {
			t.Errorf("%s: %d s before now to %d s after", path, (now.UnixMicro()-from)/1e6, (to-now.UnixMicro())/1e6)
		}
		do(h, request("GET", path+ending, ""))
		if from, to := f.query.From, f.query.To; from%hour != 0 || to-from != day+past.Microseconds() || to != now.Add(-time.Hour).UnixMicro() {
			t.Errorf("%s to an hour before: %d s", path, (to-from)/1e6)
		}
	}
}

func TestTasksAndCount(t *testing.T) {
	h := newAPI(newFake())
	for path, want := range map[string]struct {
		code int
		body string
	}{
		"/api/v1/tasks":                                       {200, `{"tasks":[{"task_name":"t","total_count":0`},
		"/api/v1/tasks?from=-7d":                              {200, `"active_count":1`},
		"/api/v1/tasks?from=-8d":                              {200, `"top_workers":[{"worker":"w","count":2}],"top_queues":[],"top_exceptions_other":0,"top_workers_other":7,"top_queues_other":0}`},
		"/api/v1/tasks?form=1":                                {400, `unknown parameter`},
		"/api/v1/tasks?from=5&to=4":                           {400, `from: after to`},
		"/api/v1/tasks?to=-100y":                              {400, `to: before 1970`},
		"/api/v1/tasks/t?to=-100y":                            {400, `to: before 1970`},
		"/api/v1/tasks/t/series?to=0":                         {400, `to: `},
		"/api/v1/tasks?from=2099-01-01":                       {400, `from: after now, and there is no to`},
		"/api/v1/tasks//series":                               {404, `no such endpoint`},
		"/api/v1/tasks/%2Fseries":                             {200, `{"task_name":"t"`},
		"/api/v1/tasks/t/series?from=0&to=3600":               {200, `{"points":[{"t":0,"total_count":0`},
		"/api/v1/tasks/t":                                     {200, `{"task_name":"t"`},
		"/api/v1/tasks/none":                                  {404, `{"error":"no invocation of task \"none\" in this range","coverage":{"from":null,`},
		"/api/v1/workflows/a%2Fb":                             {200, `{"root_id":"a/b","root_stored":true,"total":0,"open":0,"given_up":0,"states":{},"first_at":null,"last_at":null,"broke_at":[],"tree":{"task_id":"a/b","state":"SENT","updated_at":1,"depth":0,"children":[]},"orphans":[],"deeper":[],"truncated":false,"complete":false,"coverage":{`},
		"/api/v1/workflows/a?limit=1":                         {400, `unknown parameter`},
		"/api/v1/workflows/":                                  {404, `no such endpoint`},
		"/api/v1/tasks/a%2Fseries":                            {200, `{"task_name":"t"`},
		"/api/v1/tasks/t/series?from=3600&to=10800&step=3600": {200, `{"points":[{"t":3600,"total_count":0,"success_count":0,"failure_count":0,"retries_total":0,"p50_ms":null`},
		"/api/v1/tasks/t/series?step=61":                      {400, `want 60, 3600 or 86400`},
		"/api/v1/tasks/t/series?step=60&from=1&to=100000000":  {400, `more than 11000 points`},
		"/api/v1/count":                                       {200, `{"count":3,"complete":true`},
		"/api/v1/count?by=state&state=SUCCESS":                {200, `"groups":[{"state":"SUCCESS","count":3}]`},
		"/api/v1/count?by=color":                              {400, `none of task_name`},
		"/api/v1/count?step=60&from=1&to=100000000":           {400, `more than 11000 points`},
	} {
		w := do(h, request("GET", path, ""))
		if w.Code != want.code || !strings.Contains(w.Body.String(), want.body) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
