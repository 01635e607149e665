package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// asked are the endpoints that read, with a name in the path where one belongs.
var asked = []string{"/api/v1/invocations", "/api/v1/count", "/api/v1/tasks", "/api/v1/tasks/%s", "/api/v1/tasks/%s/series", "/api/v1/workflows/%s", "/api/v1/invocations/%s"}

// FuzzQuery wants of any query string, on every path that reads, an answer that is
// JSON or a 400 with an error (404 where a name may be unknown), from a store that
// does what it is told and from a real one. Of the real one the listing and the
// count of the same filter agree, and a count is the sum of its groups and steps.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"limit=5&state=success&from=-1h", "task=a*&cursor=AAAA", "min_runtime_ms=1.5&open=true&min_age=1d", "%zz;", "from=2026-11-23T00:00:00+01:00",
		"q=word+%22a+phrase%22+pre*&task_name=a", "q=%2Fsub%5C%2Fstring%2F", "q=%22open&limit=1", "q=%00%ff*"} {
		f.Add(s, uint8(0), "")
	}
	for _, s := range []string{"by=state", "by=task_name&step=3600", "by=exception_type&q=r&step=60&from=-2h", "step=86400&to=now&by=queue", "by=color", "step=61", "step=60&from=1&to=100000000",
		"by=worker&task=n1&task=n2&state=SUCCESS&state=STARTED", "from=5&to=4", "min_retries=1&by=worker_group", "task=*&min_age=1m", "q=word3", "q=word3&step=60&from=-2d&to=now&by=state"} {
		f.Add(s, uint8(1), "")
	}
	for i, path := range asked {
		for _, s := range []string{"", "from=-8d&to=now", "from=0&to=9007199254", "step=60", "step=86400&from=-7d", "form=1", "from=1.5&to=-1h", "from=5&to=4"} {
			if strings.Contains(path, "%s") || i > 1 {
				f.Add(s, uint8(i), "n1")
			}
		}
	}
	f.Add("", uint8(3), "none")
	f.Add("", uint8(4), "")
	f.Add("step=3600", uint8(4), "a/series")
	f.Add("", uint8(5), "\x00\xff..//")
	f.Add("", uint8(6), strings.Repeat("a", 300))
	db := someRows(f)
	engine := newAPI(db, func(c *api.Config) { c.QueryTimeout = time.Minute })
	f.Fuzz(func(t *testing.T, query string, which uint8, name string) {
		path := asked[int(which)%len(asked)]
		named := strings.Contains(path, "%s")
		if named && name == "" && !strings.HasSuffix(path, "series") {
			return // that is no path of these
		}
		u := &url.URL{Path: strings.ReplaceAll(path, "%s", name), RawPath: strings.ReplaceAll(path, "%s", url.PathEscape(name)), RawQuery: query}
		store := newFake()
		w := do(newAPI(store), &http.Request{Method: "GET", URL: u})
		answered(t, w, named)
		if q := store.query; w.Code == http.StatusOK && (q.From < 0 || q.To < 0 || q.To != 0 && q.From > q.To || path == asked[0] && (q.Limit < 1 || q.Limit > 1000)) {
			t.Errorf("%+v", q)
		}
		again := do(engine, &http.Request{Method: "GET", URL: u})
		answered(t, again, named)
		if bad := w.Code == http.StatusBadRequest; bad != (again.Code == http.StatusBadRequest) {
			t.Errorf("%s: %d, of a real store %d %s", u, w.Code, again.Code, again.Body)
		}
		if again.Code != http.StatusOK {
			return
		}
		switch path {
		case "/api/v1/count":
			countsWhatIsListed(t, engine, query, again.Body.Bytes())
		case "/api/v1/tasks/%s/series":
			var s struct{ Points []json.RawMessage }
			if err := json.Unmarshal(again.Body.Bytes(), &s); err != nil || len(s.Points) > 11000 {
				t.Errorf("%d points, %v", len(s.Points), err)
			}
		}
	})
}

// someRows is a database with rows in a day, in a live file and in the head.
func someRows(f *testing.F) *tsdb.DB {
	f.Helper()
	o := tsdb.DefaultOptions()
	o.Dir, o.Now, o.RetentionTime, o.Settle, o.WALSync = f.TempDir(), func() time.Time { return testNow }, 0, 0, "never"
	db, err := tsdb.Open(o)
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, db.Close()); err != nil {
			f.Error(err)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; !db.Ready().Ready; n++ {
		if <-tick.C; n > 20000 {
			f.Fatal("the database does not get ready")
		}
	}
	h := newAPI(db, func(c *api.Config) { c.EnableAdmin = true })
	for part, ago := range []int64{30 * 3600, 3000, 30} {
		var b strings.Builder
		for i := range 12 {
			at := testNow.Unix() - ago - int64(i)*100
			state := [...]string{"finished_at", "started_at"}[i%4/3]
			fmt.Fprintf(&b, `{"task_id":"r%d-%d","task_name":"n%d","%s":%d.5,"worker":"w%d@h","queue":"q%d","exception_type":%q,"runtime_ms":%d,"retries":%d,"args":"word%d a phrase"}`+"\n",
				part, i, i%3, state, at, i%2, i%2, []string{"", "E"}[i%2], i, i%2, i)
		}
		if w := do(h, request("POST", "/api/v1/invocations", b.String())); w.Code != http.StatusOK {
			f.Fatalf("%d %s", w.Code, w.Body)
		}
		if part == 2 {
			break // these stay in the head
		}
		if w := do(h, request("POST", "/api/v1/admin/cut?seal=true", "")); w.Code != http.StatusOK {
			f.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	return db
}

// answered wants JSON of an answer, and an error of what is none.
func answered(t *testing.T, w *httptest.ResponseRecorder, named bool) {
	t.Helper()
	switch {
	case w.Code == http.StatusOK:
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("no JSON: %.500s", w.Body)
		}
	case w.Code == http.StatusBadRequest:
		errorOf(t, w)
	case w.Code == http.StatusNotFound && named:
	default:
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// countsWhatIsListed compares an answer of count with a listing of the same filter.
func countsWhatIsListed(t *testing.T, h http.Handler, query string, body []byte) {
	t.Helper()
	type groups []struct{ Count int }
	sum := func(g groups) (n int) {
		for _, x := range g {
			n += x.Count
		}
		return n
	}
	var c struct {
		Count    int
		Groups   groups
		Complete bool
		Points   []struct {
			Count  int
			Groups groups
		}
	}
	if err := json.Unmarshal(body, &c); err != nil || !c.Complete {
		t.Fatalf("%v: %s", err, body)
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	given := func(name string) bool { return slices.ContainsFunc(v[name], func(s string) bool { return s != "" }) }
	if given("by") && sum(c.Groups) != c.Count {
		t.Errorf("%d in the groups: %.500s", sum(c.Groups), body)
	}
	if given("step") {
		total := 0
		for _, p := range c.Points {
			if total += p.Count; given("by") && sum(p.Groups) != p.Count {
				t.Errorf("%d in the groups of a step: %.500s", sum(p.Groups), body)
			}
		}
		if total != c.Count {
			t.Errorf("%d in the steps: %.500s", total, body)
		}
		if !given("from") || !given("to") { // these have defaults then
			return
		}
	}
	delete(v, "by")
	delete(v, "step")
	v.Set("limit", "1000")
	w := do(h, &http.Request{Method: "GET", URL: &url.URL{Path: "/api/v1/invocations", RawQuery: v.Encode()}})
	if n := bytes.Count(w.Body.Bytes(), []byte(`{"task_id":`)); w.Code != http.StatusOK || n != c.Count {
		t.Errorf("%s: %d %d are listed, %d counted", query, w.Code, n, c.Count)
	}
}

// FuzzCursor wants every issued cursor taken for the position it was issued for,
// no other text taken but the one that would be issued for the position it names,
// whether or not its check is right, and none of other filters or another order.
func FuzzCursor(f *testing.F) {
	first := task.Key{At: 7, Hash: task.HashID("a"), ID: "a"}
	store := newFake()
	store.selectFn = func(_ context.Context, q tsdb.Query) (tsdb.Page, error) { // a page whose next one begins where it begins
		next := first
		if q.After != nil {
			next = *q.After
		}
		return tsdb.Page{Complete: true, Next: &next}, nil
	}
	h := newAPI(store)
	ask := func(t testing.TB, query, cursor string) (code int, next string) {
		w := do(h, &http.Request{Method: "GET", URL: &url.URL{Path: "/api/v1/invocations", RawQuery: query + "&cursor=" + url.QueryEscape(cursor)}})
		var page struct {
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatalf("%v: %d %s", err, w.Code, w.Body)
		}
		if w.Code == http.StatusBadRequest {
			errorOf(t, w)
		}
		return w.Code, page.Next
	}
	queries := []string{"", "to=now", "from=-1h&min_age=10m&state=SUCCESS", "order=oldest", "task=n"}
	accepts := func(t *testing.T, query, cursor string) {
		t.Helper()
		code, next := ask(t, query, cursor)
		if code == http.StatusBadRequest {
			return
		}
		if code != http.StatusOK || next != cursor {
			t.Fatalf("%s: %q is taken for a cursor, %d, and is %q", query, cursor, code, next)
		}
		if q := store.query; q.After == nil || q.After.At < 0 || q.After.At > task.MaxMicros || q.From < 0 || q.To < 0 || q.To != 0 && q.From > q.To || task.CheckID(q.After.ID) != nil || q.After.Hash != task.HashID(q.After.ID) ||
			(q.To != 0) != strings.Contains(query, "to=") || (q.OpenBefore != 0) != strings.Contains(query, "min_age=") {
			t.Errorf("%s: %q: %+v", query, cursor, q)
		}
		for _, other := range queries {
			if other != query {
				if code, next := ask(t, other, cursor); code != http.StatusBadRequest {
					t.Errorf("%q, of %q, is taken by %q: %d %s", cursor, query, other, code, next)
				}
			}
		}
	}
	var heads [][]byte // version, order and filters
	for i, query := range queries {
		_, issued := ask(f, query, "")
		raw, err := base64.RawURLEncoding.DecodeString(issued)
		if err != nil || len(raw) < 10 {
			f.Fatalf("%q: %v", issued, err)
		}
		heads = append(heads, raw[:10])
		f.Add(issued, uint8(i), int64(7), "a")
		f.Add(string(raw[10:len(raw)-4]), uint8(i), int64(0), "\x00é/")
	}
	f.Add("", uint8(0), int64(task.MaxMicros), strings.Repeat("a", task.MaxID))
	f.Add("\x00\x00\x00\x8e\x00a", uint8(0), int64(7), "a") // a number longer than it has to be
	f.Add("\x80\x01\x02\x00\x0ea", uint8(1), int64(7), "a") // from after to
	f.Add("\x00\x00\x80\x01\x0ea", uint8(0), int64(7), "a") // an age that was not asked for
	f.Add("\x00\x00\x00"+string(binary.AppendVarint(nil, task.MaxMicros+1))+"a", uint8(0), int64(7), "a")
	f.Add("\x00\x00\x00\x0da", uint8(0), int64(7), "a") // before 1970
	f.Add("AQBl4pN0_QAAAA", uint8(0), int64(-1), "")    // too short
	f.Fuzz(func(t *testing.T, cursor string, which uint8, at int64, id string) {
		i := int(which) % len(queries)
		if cursor != "" {
			accepts(t, queries[i], cursor)
			accepts(t, queries[i], cursor+"\n")
			// The same with a head and a check that are right.
			b := append(bytes.Clone(heads[i]), cursor...)
			b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
			accepts(t, queries[i], base64.RawURLEncoding.EncodeToString(b))
		}
		if at < 0 || at > task.MaxMicros || task.CheckID(id) != nil {
			return
		}
		first = task.Key{At: at, Hash: task.HashID(id), ID: id}
		_, issued := ask(t, queries[i], "")
		if code, _ := ask(t, queries[i], issued); code != http.StatusOK || *store.query.After != first {
			t.Errorf("%s is issued for %+v: %d %+v", issued, first, code, store.query.After)
		}
		accepts(t, queries[i], issued)
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

// FuzzCompressed sends any bytes as a gzip or zstd body, as they are and compressed
// and then cut: what is whole and within --web.max-body is answered as the same body
// sent plain, of everything else nothing is stored, and the answer says why.
func FuzzCompressed(f *testing.F) {
	const limit = 1 << 16
	three := line("a") + "\n" + "nope\n" + line("b") + "\n"
	for _, s := range []string{three, "", strings.Repeat(" ", limit), strings.Repeat("\n", limit+1), strings.Repeat(line("c")+"\n", limit/40)} {
		gz, zs := zip(f, s), zstandard(f, s)
		for kind, b := range map[bool]string{false: gz, true: zs} {
			f.Add(b, kind, false, uint16(0))
			f.Add(s, kind, true, uint16(0))
			f.Add(s, kind, true, uint16(3))
			f.Add(b[:len(b)-min(3, len(b))], kind, false, uint16(0))
			f.Add(b+b, kind, false, uint16(0))
			f.Add(b+"more", kind, false, uint16(0))
			f.Add(b+"\x00\x00", kind, false, uint16(0))
		}
	}
	bomb := strings.Repeat("\n", 8<<20)
	f.Add(zip(f, bomb), false, false, uint16(0))
	f.Add(zstandard(f, bomb), true, false, uint16(0))
	f.Add("\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00", true, false, uint16(0))                             // the largest window there is
	f.Add("\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x00\x00", true, false, uint16(0)) // 8 EiB, it says
	f.Add("\x50\x2a\x4d\x18\xff\xff\xff\xff", true, false, uint16(0))                                 // a frame to skip
	store := newFake()
	h := newAPI(store, func(c *api.Config) { c.MaxBody = limit })
	f.Fuzz(func(t *testing.T, body string, zs, packed bool, cut uint16) {
		encoding, pack, unpack := "gzip", zip, unzip
		if zs {
			encoding, pack, unpack = "zstd", zstandard, unzstandard
		}
		if packed {
			body = pack(t, body)
			body = body[:len(body)-min(int(cut), len(body))]
		}
		store.records = nil
		w := do(h, request("POST", "/api/v1/invocations", body, "Content-Encoding", encoding))
		got := slices.Clone(store.records)
		plain, err := unpack(body, limit+1)
		if err != nil || len(plain) > limit || len(body) > limit {
			if w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge || len(got) > 0 {
				t.Errorf("%d %s, %d records are taken; %v, %d bytes", w.Code, w.Body, len(got), err, len(plain))
			}
			errorOf(t, w)
			return
		}
		store.records = nil
		same := do(h, request("POST", "/api/v1/invocations", string(plain)))
		if w.Code != same.Code || w.Body.String() != same.Body.String() || !reflect.DeepEqual(got, store.records) {
			t.Errorf("%d %s, plain %d %s", w.Code, w.Body, same.Code, same.Body)
		}
	})
}

// unzip and unzstandard decompress the beginning of a text, n bytes at most.
func unzip(text string, n int64) ([]byte, error) {
	z, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, n))
}

func unzstandard(text string, n int64) ([]byte, error) {
	z, err := zstd.NewReader(strings.NewReader(text), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(io.LimitReader(z, n))
}

var _ api.Store = (*fake)(nil)
var _ api.Store = (*tsdb.DB)(nil)
