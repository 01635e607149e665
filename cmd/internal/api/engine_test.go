package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
)

// engine is a server over a real database.
func engine(t *testing.T, change ...func(*api.Config)) *httptest.Server {
	t.Helper()
	return engineIn(t, t.TempDir(), change...)
}

// engineIn is engine in a directory.
func engineIn(t *testing.T, dir string, change ...func(*api.Config)) *httptest.Server {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.Dir, o.Now, o.RetentionTime, o.Settle = dir, func() time.Time { return testNow }, 0, 0
	db, err := tsdb.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	srv := httptest.NewServer(newAPI(db, change...))
	t.Cleanup(func() {
		srv.Close()
		cancel()
		if err := errors.Join(<-done, db.Close()); err != nil {
			t.Error(err)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; !db.Ready().Ready; n++ {
		if <-tick.C; n > 20000 {
			t.Fatal("the database does not get ready")
		}
	}
	return srv
}

func fetch(t *testing.T, srv *httptest.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, readAll(t, resp.Body)
}

// TestEngine writes, reads, cuts and reads again.
func TestEngine(t *testing.T) {
	srv := engine(t, func(c *api.Config) { c.EnableAdmin = true })
	at := testNow.Unix()
	body := fmt.Sprintf(`{"task_id":"a/b","task_name":"n","started_at":%[1]d,"finished_at":%[2]d,"runtime_ms":1000,"worker":"w@h"}
{"task_id":"é","task_name":"m","finished_at":%[2]d,"exception_type":"E"}
{"task_id":"open","task_name":"m","started_at":%[1]d}
{"task_id":"future","sent_at":%[3]d}
{"task_id":"unknown","queue":"q"}
`, at-20, at-10, at+7200)
	code, got := fetch(t, srv, "POST", "/api/v1/invocations", body)
	if code != http.StatusOK || !strings.HasPrefix(got, `{"accepted":3,"ignored":0,"rejected":2,"dropped":0,"errors":[{"line":4,`) || !strings.Contains(got, `{"line":5,`) {
		t.Fatalf("%d %s", code, got)
	}
	if code, got := fetch(t, srv, "POST", "/api/v1/invocations", `{"task_id":"open","queue":"q"}`); code != http.StatusOK {
		t.Fatalf("a line without a time: %d %s", code, got)
	}
	long := fmt.Sprintf(`{"task_id":"long","state":"RETRY","updated_at":%d,"args":"%s","traceback":"%s"}`, at-5000, noise(9<<10), noise(65<<10))
	if code, got := fetch(t, srv, "POST", "/api/v1/invocations", long); code != http.StatusOK {
		t.Fatal(code, got)
	}
	for _, when := range []string{"in the head", "cut"} {
		if when == "cut" {
			if code, got := fetch(t, srv, "POST", "/api/v1/admin/cut", ""); code != http.StatusOK || got != fmt.Sprintf(`{"rows":2,"days":["%s"]}`+"\n", testNow.Format(time.DateOnly)) {
				t.Fatalf("%d %s", code, got)
			}
		}
		for query, want := range map[string]string{
			"": "4", "task=m": "2", "task=*": "4", "task=x*": "0", "state=SUCCESS": "1", "state=failure&state=STARTED": "2", "open=true": "2", "open=true&order=oldest&min_age=1h": "1",
			"queue=q": "1", "worker=w@h": "1", "worker_group=h": "1", "exception=E": "1", "task_id=a/b": "1", "from=-15s": "2", "to=-15s": "2",
			"min_runtime_ms=1000": "1", "min_runtime_ms=1000.001": "0", "max_runtime_ms=999": "0", "min_retries=1": "0", "min_age=10s": "2", "min_age=1m": "1", "min_age=2h": "0", "root=x": "0",
		} {
			code, got := fetch(t, srv, "GET", "/api/v1/invocations?"+query, "")
			if n := fmt.Sprint(strings.Count(got, `{"task_id":`)); code != http.StatusOK || n != want {
				t.Errorf("%s: %s: %d, %s rows, want %s: %s", when, query, code, n, want, got)
			}
		}
		if code, got := fetch(t, srv, "GET", "/api/v1/invocations?task_id=long", ""); code != http.StatusOK || !strings.Contains(got, `"truncated":["args","traceback"]`) {
			t.Errorf("%s: what was cut is not named: %d %.300s", when, code, got)
		}
		for path, want := range map[string]int{"a%2Fb": 200, "a/b": 200, "%C3%A9": 200, "open": 200, "A%2FB": 404} {
			if code, got := fetch(t, srv, "GET", "/api/v1/invocations/"+path, ""); code != want {
				t.Errorf("%s: %s: %d %s", when, path, code, got)
			}
		}
	}
}

// TestLargeBody sends more than is allowed without saying so beforehand.
func TestLargeBody(t *testing.T) {
	srv := engine(t)
	for _, known := range []bool{true, false} {
		var body io.Reader = strings.NewReader(strings.Repeat(goodLine, 1<<20/len(goodLine)+1))
		if !known {
			body = io.MultiReader(body) // chunked
		}
		resp, err := srv.Client().Post(srv.URL+"/api/v1/invocations", "", body)
		if err != nil {
			t.Fatal(err)
		}
		text := readAll(t, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("length known %t: %d %s", known, resp.StatusCode, text)
		}
	}
	if _, got := fetch(t, srv, "GET", "/api/v1/invocations", ""); !strings.HasPrefix(got, `{"invocations":[],`) {
		t.Errorf("something of it was stored: %s", got)
	}
}

// TestBrokenOff has a client that promises more than it sends.
func TestBrokenOff(t *testing.T) {
	srv := engine(t)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n%s", goodLine)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		defer resp.Body.Close()
		if text := readAll(t, resp.Body); resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
	if _, got := fetch(t, srv, "GET", "/api/v1/invocations", ""); !strings.HasPrefix(got, `{"invocations":[],`) {
		t.Errorf("something of it was stored: %s", got)
	}
}
