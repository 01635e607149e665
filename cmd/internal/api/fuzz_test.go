package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// FuzzQuery wants a 200 or a 400 with an error for any query string.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"limit=5&state=success&from=-1h", "task=a*&cursor=AAAA", "min_runtime_ms=1.5&open=true&min_age=1d", "%zz;", "from=2026-11-23T00:00:00+01:00",
		"q=word+%22a+phrase%22+pre*&task_name=a", "q=%2Fsub%5C%2Fstring%2F", "q=%22open&limit=1", "q=%00%ff*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		store := newFake()
		w := do(newAPI(store), &http.Request{Method: "GET", URL: &url.URL{Path: "/api/v1/invocations", RawQuery: query}})
		switch w.Code {
		case http.StatusOK:
			if q := store.query; q.Limit < 1 || q.Limit > 1000 || q.From < 0 || q.To < 0 || q.To != 0 && q.From > q.To {
				t.Errorf("%+v", q)
			}
		case http.StatusBadRequest:
			errorOf(t, w)
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// FuzzCursor wants that no text but an issued cursor is taken for one.
func FuzzCursor(f *testing.F) {
	h := newAPI(pages(task.Key{At: 7, Hash: task.HashID("a"), ID: "a"}))
	issued := "AQBl4pN0_QAAAA"
	f.Add(issued)
	f.Add("")
	f.Fuzz(func(t *testing.T, cursor string) {
		w := do(h, &http.Request{Method: "GET", URL: &url.URL{Path: "/api/v1/invocations", RawQuery: "cursor=" + url.QueryEscape(cursor)}})
		if w.Code != http.StatusBadRequest && cursor != "" && w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// captured are events that real workers sent, about n of them, of all parts of the
// capture.
func captured(f *testing.F, n int) (lines [][]byte) {
	f.Helper()
	file, err := os.Open("../celery/testdata/events.ndjson.gz")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		f.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		f.Fatal(err)
	}
	every := bytes.Split(bytes.TrimSpace(all), []byte("\n"))
	for i := 0; i < len(every); i += len(every)/n + 1 {
		lines = append(lines, every[i])
	}
	return lines
}

// FuzzBody wants every line of any body counted once, and good neighbours kept.
func FuzzBody(f *testing.F) {
	for _, s := range []string{line("a"), event("a"), "[" + event("a") + "]", "\xef\xbb\xbf{}\r\n", "[[]", `["\`, "nope\n"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	for _, l := range captured(f, 12) {
		f.Add(string(l), true)
	}
	f.Fuzz(func(t *testing.T, text string, events bool) {
		store := newFake()
		path := "/api/v1/invocations"
		if events {
			path = "/api/v1/events"
		}
		w := do(newAPI(store, func(c *api.Config) { c.MaxBody = 32 << 20 }), request("POST", path, text))
		var o outcome
		if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil || w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		if o.Accepted != len(store.records) || o.Dropped != 0 || o.Rejected < len(o.Errors) {
			t.Errorf("%+v, %d records", o, len(store.records))
		}
		if all := o.Rejected > 0 && o.Accepted+o.Ignored == 0; all != (w.Code == http.StatusBadRequest) {
			t.Errorf("%d %+v", w.Code, o)
		}
		if events {
			return
		}
		blank := 0
		lines := strings.Split(strings.TrimPrefix(text, "\xef\xbb\xbf"), "\n")
		for _, l := range lines {
			if strings.Trim(l, " \t\r") == "" {
				blank++
			}
		}
		if got := o.Accepted + o.Ignored + o.Rejected; got != len(lines)-blank {
			t.Errorf("%d lines of %d (%d blank) are counted", got, len(lines), blank)
		}
		// Between two good neighbours, whatever it is, both are kept.
		store = newFake()
		do(newAPI(store), request("POST", path, line("first")+"\n"+text+"\n"+line("last")))
		if n := len(store.records); n < 2 || store.records[0].TaskID != "first" || store.records[n-1].TaskID != "last" {
			t.Errorf("a neighbour was lost: %d records", n)
		}
	})
}

var _ api.Store = (*fake)(nil)
var _ api.Store = (*tsdb.DB)(nil)
