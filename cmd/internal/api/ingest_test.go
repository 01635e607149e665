package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
)

type outcome struct {
	Accepted, Ignored, Rejected, Dropped int
	Errors                               []struct {
		Line  int
		Error string
	}
}

func post(t *testing.T, h http.Handler, path, body string) (int, outcome) {
	t.Helper()
	w := do(h, request("POST", path, body))
	var o outcome
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return w.Code, o
}

func line(id string) string { return fmt.Sprintf(`{"task_id":%q,"sent_at":1795435200}`, id) }

func event(id string) string {
	return fmt.Sprintf(`{"type":"task-received","uuid":%q,"timestamp":1795435200,"hostname":"w"}`, id)
}

// TestLines has bodies, which of their lines are refused, and how many are kept.
func TestLines(t *testing.T) {
	const invocations, events = "/api/v1/invocations", "/api/v1/events"
	for name, c := range map[string]struct {
		path, body        string
		accepted, ignored int
		refused           []int
	}{
		"nothing":             {invocations, "", 0, 0, nil},
		"blank":               {invocations, "\n \r\n\t\n", 0, 0, nil},
		"one":                 {invocations, line("a"), 1, 0, nil},
		"CRLF":                {invocations, line("a") + "\r\n" + line("b") + "\r\n", 2, 0, nil},
		"byte order mark":     {invocations, "\xef\xbb\xbf" + line("a") + "\n", 1, 0, nil},
		"mark in the middle":  {invocations, line("a") + "\n\xef\xbb\xbf" + line("b") + "\n" + line("c"), 2, 0, []int{2}},
		"blank lines count":   {invocations, "\n\n" + line("a") + "\n\nnope\n" + line("b"), 2, 0, []int{5}},
		"half-written":        {invocations, line("a") + "\n" + line("b")[:20], 1, 0, []int{2}},
		"not objects":         {invocations, "1\n[]\nnull\n\"x\"\n" + line("a"), 1, 0, []int{1, 2, 3, 4}},
		"no id":               {invocations, "{}\n" + line("a") + "\n" + line("") + "\n" + line(strings.Repeat("x", 256)), 1, 0, []int{1, 3, 4}},
		"times":               {invocations, `{"task_id":"a","sent_at":1e400}` + "\n" + `{"task_id":"a","sent_at":-5}` + "\n" + `{"task_id":"a","sent_at":NaN}` + "\n" + line("a"), 1, 0, []int{1, 2, 3}},
		"state":               {invocations, `{"task_id":"a","sent_at":1,"state":"DONE"}` + "\n" + line("a"), 1, 0, []int{1}},
		"invalid UTF-8":       {invocations, "{\"task_id\":\"a\",\"sent_at\":1795435200,\"args\":\"\xff\"}\n", 1, 0, nil},
		"too long":            {invocations, line("a") + "\n" + line(strings.Repeat("y", 5<<20)) + "\n" + line("b"), 2, 0, []int{2}},
		"too long at the end": {invocations, line("a") + "\n" + strings.Repeat("y", 5<<20), 1, 0, []int{2}},
		"deep":                {invocations, strings.Repeat("[", 1<<20) + "\n" + line("a"), 1, 0, []int{1}},
		"array of lines":      {invocations, "[" + line("a") + "]", 0, 0, []int{1}},
		"events":              {events, event("a") + "\n" + `{"type":"worker-heartbeat","timestamp":1}` + "\n" + `{"type":"custom","timestamp":1}` + "\nnope\n" + event("b"), 2, 2, []int{4}},
		"event without uuid":  {events, `{"type":"task-started","timestamp":1795435200}`, 0, 1, nil},
		"empty array":         {events, " [ ] \n", 0, 0, nil},
		"array":               {events, "\n\t[" + event("a") + ",\n" + event("b") + "]\n", 2, 0, nil},
		"array, broken":       {events, "[" + event("a") + `,{"type":"task-started","uuid":"b","timestamp":NaN},` + event("c") + ",x,]", 2, 0, []int{2, 4, 5}},
		"array, brackets":     {events, `[{"type":"x","v":"],[{\"\\"},` + event("b") + "]", 1, 1, nil},
		"array, cut":          {events, "[" + event("a") + "," + event("b")[:30], 1, 0, []int{2, 3}},
		"array, not closed":   {events, "[" + event("a"), 1, 0, []int{2}},
		"array, more behind":  {events, "[" + event("a") + "]\n[" + event("b") + "]", 1, 0, []int{2}},
		"array, unbalanced":   {events, "[}," + event("a") + "]", 1, 0, []int{1}},
		"array, too long":     {events, "[" + event("a") + `,"` + strings.Repeat("z", 5<<20) + `",` + event("b") + "]", 2, 0, []int{2}},
		"only a bracket":      {events, "[", 0, 0, []int{1}},
		"lines of arrays":     {events, event("a") + "\n[" + event("b") + "]\n", 1, 0, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			code, o := post(t, newAPI(f, func(c *api.Config) { c.MaxBody = 32 << 20 }), c.path, c.body)
			var refused []int
			for _, e := range o.Errors {
				refused = append(refused, e.Line)
				if e.Error == "" {
					t.Errorf("line %d: refused without a reason", e.Line)
				}
			}
			want := http.StatusOK
			if len(c.refused) > 0 && c.accepted+c.ignored == 0 {
				want = http.StatusBadRequest
			}
			if code != want || o.Accepted != c.accepted || o.Ignored != c.ignored || o.Rejected != len(c.refused) || fmt.Sprint(refused) != fmt.Sprint(c.refused) {
				t.Errorf("%d %+v, want %d, %d accepted, %d ignored, refused %v", code, o, want, c.accepted, c.ignored, c.refused)
			}
			if len(f.records) != c.accepted {
				t.Errorf("%d records", len(f.records))
			}
		})
	}
}

func TestAnswerOfLines(t *testing.T) {
	w := do(newAPI(newFake()), request("POST", "/api/v1/invocations", line("a")+"\n"+line("b")+"\n{}\n"))
	if want := `{"accepted":2,"ignored":0,"rejected":1,"dropped":0,"errors":[{"line":3,"error":"task_id is missing"}]}` + "\n"; w.Body.String() != want {
		t.Errorf("%swant\n%s", w.Body, want)
	}
}

// TestLastLineCutShort wants the guess that a body was cut short for what ends too
// early, and not for whatever is refused at the end of it.
func TestLastLineCutShort(t *testing.T) {
	const invocations, events = "/api/v1/invocations", "/api/v1/events"
	retries := `{"task_id":"a","sent_at":1795435200,"retries":-3}`
	for name, c := range map[string]struct {
		path, body string
		want       bool
	}{
		"a value":               {invocations, retries, false},
		"a value and an end":    {invocations, retries + "\n", false},
		"no JSON":               {invocations, line("a") + "\nnope", false},
		"something behind":      {invocations, line("a") + "}", false},
		"a wrong bracket":       {invocations, `{"task_id":"a"]`, false},
		"cut":                   {invocations, line("a") + "\n" + line("b")[:20], true},
		"cut in a word":         {invocations, `{"task_id":"a","given_up":tr`, true},
		"cut, and an end":       {invocations, line("b")[:20] + "\n", false},
		"event":                 {events, `{"type":"task-started","uuid":"a"}`, false},
		"event, cut":            {events, event("a")[:30], true},
		"array, cut":            {events, "[" + event("a")[:30], true},
		"array, refused at end": {events, `[{"type":"task-started","uuid":"a"}`, false},
	} {
		_, o := post(t, newAPI(newFake()), c.path, c.body)
		if len(o.Errors) == 0 || strings.Contains(o.Errors[0].Error, "seems to be cut short") != c.want {
			t.Errorf("%s: %+v", name, o.Errors)
		}
	}
}

// TestRefusedByStore mixes lines that are refused here and there.
func TestRefusedByStore(t *testing.T) {
	f := newFake()
	f.appendFn = func(_ context.Context, recs []tsdb.Record) (tsdb.Appended, error) {
		var a tsdb.Appended
		for i := range recs {
			if i%2 == 0 {
				a.Refused = append(a.Refused, tsdb.Refusal{Index: i, Err: errors.New("too old")})
			}
		}
		a.Dropped = 1
		return a, nil
	}
	h := newAPI(f)
	body := "\n" + line("a") + "\nx\n" + line("b") + "\n" + line("c") + "\ny\n" + line("d")
	code, o := post(t, h, "/api/v1/invocations", body)
	if code != http.StatusOK || o.Accepted != 1 || o.Dropped != 1 || o.Rejected != 4 {
		t.Errorf("%d %+v", code, o)
	}
	for i, want := range []int{2, 3, 5, 6} {
		if o.Errors[i].Line != want {
			t.Errorf("error %d is of line %d, want %d", i, o.Errors[i].Line, want)
		}
	}
	if w := do(h, request("GET", "/healthz", "")); !strings.Contains(w.Body.String(), `"rejected_total":2,`) {
		t.Errorf("%s: the store counts its own", w.Body)
	}
	many := strings.Repeat(line("a")+"\nx\n", 300)
	if _, o := post(t, h, "/api/v1/invocations", many); len(o.Errors) != 100 || o.Errors[99].Line >= 200 || o.Rejected != 450 {
		t.Errorf("%d errors, the last %+v, %d rejected", len(o.Errors), o.Errors[len(o.Errors)-1], o.Rejected)
	}
}

func TestNoTime(t *testing.T) {
	f := newFake()
	if code, o := post(t, newAPI(f), "/api/v1/invocations", `{"task_id":"a","queue":"q"}`); code != http.StatusOK || o.Accepted != 1 {
		t.Fatalf("%d %+v", code, o)
	}
	if len(f.records) != 1 || !f.records[0].NoTime {
		t.Errorf("%+v", f.records)
	}
}

// TestMemory checks that what is borrowed is given back, that it is in
// proportion, and what happens when there is none.
func TestMemory(t *testing.T) {
	body := strings.Repeat(line("some-task-id")+"\n", 3000)
	for _, whole := range []bool{false, true} {
		f := newFake()
		var now, peak int64
		f.reserve = func(n int64) (func(), error) {
			if now+n > 1<<20 {
				return nil, tsdb.ErrOverloaded
			}
			now += n
			peak = max(peak, now)
			return func() { now -= n }, nil
		}
		appends := 0
		f.appendFn = func(context.Context, []tsdb.Record) (tsdb.Appended, error) {
			appends++
			return tsdb.Appended{}, nil
		}
		w := do(newAPI(f, func(c *api.Config) { c.WholeRequests = whole }), request("POST", "/api/v1/invocations", body))
		if now != 0 {
			t.Errorf("whole=%t: %d bytes are not given back", whole, now)
		}
		switch {
		case whole && (w.Code != http.StatusServiceUnavailable || appends != 0):
			t.Errorf("whole request: %d, %d appends", w.Code, appends)
		case !whole && (w.Code != http.StatusOK || appends < 2 || len(f.records) != 3000 || peak < 1<<19):
			t.Errorf("in parts: %d, %d appends, %d records, peak %d", w.Code, appends, len(f.records), peak)
		}
	}
	f := newFake()
	var borrowed int64
	f.reserve = func(n int64) (func(), error) { borrowed += n; return func() {}, nil }
	if code, _ := post(t, newAPI(f), "/api/v1/invocations", line("a")); code != http.StatusOK || borrowed > 64<<10 {
		t.Errorf("%d, a small request borrows %d bytes", code, borrowed)
	}
}

// TestPatience sends a request that waits for each piece of its memory: one that
// is taken whole waits no longer in sum than once, and what is left to the store
// is that and the wait for the log.
func TestPatience(t *testing.T) {
	const each = 3 * time.Millisecond
	body := strings.Repeat(line("some-task-id")+"\n", 3000)
	for _, whole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.reserve = func(int64) (func(), error) {
				<-time.After(each)
				return func() {}, nil
			}
			var left time.Duration
			f.appendFn = func(ctx context.Context, _ []tsdb.Record) (tsdb.Appended, error) {
				deadline, _ := ctx.Deadline()
				left = max(left, time.Until(deadline))
				return tsdb.Appended{}, nil
			}
			if w := do(newAPI(f, func(c *api.Config) { c.WholeRequests = whole }), request("POST", "/api/v1/invocations", body)); w.Code != http.StatusOK || len(f.patience) < 4 {
				t.Fatalf("%d, %d loans", w.Code, len(f.patience))
			}
			for i, got := range f.patience {
				want := tsdb.OverflowWait
				if whole {
					want -= time.Duration(i) * each
				}
				if got != want {
					t.Errorf("whole=%t: loan %d may take %s, want %s", whole, i, got, want)
				}
			}
			if whole != (left <= tsdb.OverflowWait+tsdb.LogWait) {
				t.Errorf("whole=%t: storing may take %s", whole, left)
			}
		})
	}
}

// TestRefusedInVain: a request that waits in vain for others to be stored is told
// to the store, which remembers it as a gap.
func TestRefusedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, stored := newFake(), make(chan struct{})
		f.appendFn = func(context.Context, []tsdb.Record) (tsdb.Appended, error) {
			<-stored
			return tsdb.Appended{}, nil
		}
		h := newAPI(f, func(c *api.Config) { c.Storing = 1 })
		body := strings.Repeat(line("some-task-id")+"\n", 3000)
		go do(h, request("POST", "/api/v1/invocations", body))
		synctest.Wait()
		w := do(h, request("POST", "/api/v1/invocations", body))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || f.refused.Load() != 1 {
			t.Errorf("%d %v, %d are noted", w.Code, w.Header(), f.refused.Load())
		}
		close(stored)
		synctest.Wait()
	})
}

// TestCutShort sends a body that ends too early in the middle of good lines.
func TestCutShort(t *testing.T) {
	f := newFake()
	z := zip(t, strings.Repeat(line("a")+"\n", 10000))
	w := do(newAPI(f), request("POST", "/api/v1/invocations", z[:len(z)/2], "Content-Encoding", "gzip"))
	if w.Code != http.StatusBadRequest || !strings.Contains(errorOf(t, w), "nothing of it was taken") || len(f.records) != 0 {
		t.Errorf("%d %s, %d records", w.Code, w.Body, len(f.records))
	}
}
