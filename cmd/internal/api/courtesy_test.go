package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// watched is a body that looks at something at each Read.
type watched struct {
	*bytes.Reader
	look func()
}

func (w watched) Read(p []byte) (int, error) { w.look(); return w.Reader.Read(p) }

// While a question is being answered a request that writes has a turn as it
// decodes, and none as it waits for its client, for memory or for the store.
func TestRequestsTakeTurns(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.courtesy = tsdb.NewCourtesy(2)
	seen := map[string]int{} // calls
	look := func(what string, want int) {
		seen[what]++
		if n := f.courtesy.Taken(); n != want {
			t.Errorf("%s: %d turns are taken, want %d", what, n, want)
		}
	}
	f.reserve = func(int64) (func(), error) { look("reserve", 0); return func() {}, nil }
	f.appendFn = func(context.Context, []tsdb.Record) (tsdb.Appended, error) {
		look("append", 0)
		return tsdb.Appended{}, nil
	}
	decoding := 0
	h := newAPI(f, func(c *api.Config) { c.Redact = func(*task.Invocation) { look("decode", decoding) } })
	var body strings.Builder
	for i := range 400 { // of more than one reading, and more than one loan
		fmt.Fprintf(&body, `{"task_id":"%d","task_name":"t","state":"SUCCESS","finished_at":1790000000,"args":"%s"}`+"\n", i, strings.Repeat("x", 100))
	}
	post := func() {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/api/v1/invocations", watched{bytes.NewReader([]byte(body.String())), func() { look("read", 0) }})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for what, least := range map[string]int{"reserve": 3, "append": 1, "decode": 400, "read": 3} {
			if seen[what] < least {
				t.Errorf("%s: %d times", what, seen[what])
			}
		}
		clear(seen)
	}
	post()
	decoding = 1
	answered := f.courtesy.Ask()
	post()
	answered()
	decoding = 0
	post()

	// A query asks for it, as long as it runs.
	held := func() bool {
		turn := f.courtesy.Turn()
		turn.Take()
		defer turn.Rest()
		return turn.Held()
	}
	f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) {
		if !held() {
			t.Error("a query asks for no courtesy")
		}
		return tsdb.Page{}, errors.New("for a test")
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/v1/invocations", nil))
	if held() {
		t.Error("a query asks for courtesy when it has been answered")
	}
}
