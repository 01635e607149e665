package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// pages is a store whose every page has a next one.
func pages(next task.Key) *fake {
	f := newFake()
	f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) {
		return tsdb.Page{Complete: true, Next: &next}, nil
	}
	return f
}

func cursorOf(t *testing.T, h http.Handler, query string) string {
	t.Helper()
	w := do(h, request("GET", "/api/v1/invocations?"+query, ""))
	var page struct {
		Next string `json:"next_cursor"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || page.Next == "" {
		t.Fatalf("%s: %v: %d %s", query, err, w.Code, w.Body)
	}
	return page.Next
}

func TestCursor(t *testing.T) {
	next := task.Key{At: 1795435200123456, Hash: task.HashID("é/\x00"), ID: "é/\x00"}
	f := pages(next)
	clock := testNow
	h := newAPI(f, func(c *api.Config) { c.Now = func() time.Time { return clock } })
	const q = "from=-1h&to=now&state=success&state=FAILURE&open=true&min_age=10m"
	cursor := cursorOf(t, h, q)
	if strings.Trim(cursor, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("%s is not opaque text", cursor)
	}
	clock = clock.Add(30 * time.Minute) // the walk goes on later
	for _, same := range []string{q, "state=FAILURE&state=success&min_age=10m&open=true&to=now&from=-1h&limit=3&details=false&order=newest"} {
		if w := do(h, request("GET", "/api/v1/invocations?"+same+"&cursor="+cursor, "")); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", same, w.Code, w.Body)
		}
		got := f.query
		if got.After == nil || *got.After != next {
			t.Errorf("continues behind %+v, want %+v", got.After, next)
		}
		if got.From != micros(-time.Hour) || got.To != micros(0) || got.OpenBefore != micros(-10*time.Minute) {
			t.Errorf("the range moved: %d to %d, open before %d", got.From, got.To, got.OpenBefore)
		}
	}
	if again := cursorOf(t, h, q+"&cursor="+cursor); again != cursor {
		t.Errorf("the next page's cursor has another range")
	}
	for _, other := range []string{"", "from=-2h&to=now&state=success&state=FAILURE&open=true&min_age=10m", q + "&worker=w", q + "&order=oldest", strings.Replace(q, "success", "RETRY", 1)} {
		if w := do(h, request("GET", "/api/v1/invocations?"+other+"&cursor="+cursor, "")); w.Code != http.StatusBadRequest || !strings.Contains(errorOf(t, w), "other filters") {
			t.Errorf("%s: %d %s", other, w.Code, w.Body)
		}
	}
}

// TestDamagedCursor changes every bit and every length of one.
func TestDamagedCursor(t *testing.T) {
	h := newAPI(pages(task.Key{At: 1, Hash: task.HashID("a"), ID: "a"}))
	cursor := cursorOf(t, h, "")
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	for i := range len(raw) * 8 {
		b := append([]byte(nil), raw...)
		b[i/8] ^= 1 << (i % 8)
		bad = append(bad, base64.RawURLEncoding.EncodeToString(b))
	}
	for n := range cursor {
		bad = append(bad, cursor[:n])
	}
	bad = append(bad, cursor+"A", cursor+"=", cursor+cursor, strings.Repeat("A", 1<<16), "é")
	for _, c := range bad {
		if c == "" {
			continue
		}
		w := do(h, request("GET", "/api/v1/invocations?cursor="+url.QueryEscape(c), ""))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%.80s: %d %s", c, w.Code, w.Body)
		}
	}
}
