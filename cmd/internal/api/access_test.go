package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"daybook/cmd/internal/api"
)

func hashed(t *testing.T, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// TestAccess has the right, the wrong and no password at every kind of path.
func TestAccess(t *testing.T) {
	access := api.Access{
		Users:   map[string]string{"ada": hashed(t, "enchantress", bcrypt.MinCost), "zoe": hashed(t, "", bcrypt.MinCost)},
		Headers: map[string]string{"X-Frame-Options": "deny"},
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	h := newAPI(newFake(), func(c *api.Config) {
		c.Access = func() api.Access { return access }
		c.MetricsPage, c.EnableAdmin = page, true
	})
	closed := []string{"GET /healthz", "GET /metrics", "GET /api/v1/invocations", "GET /api/v1/invocations/x", "POST /api/v1/invocations", "POST /api/v1/events",
		"GET /api/v1/blocks", "GET /api/v1/status/flags", "POST /api/v1/admin/cut", "GET /nope", "DELETE /healthz", "GET //-/healthy", "GET /-/healthy/", "GET /-/../-/ready/x",
		"GET /%2D/healthy", "GET /api/v1/invocations/..%2F..%2F..%2F-%2Fhealthy"}
	for _, user := range []struct{ name, password string }{{"", ""}, {"ada", "wrong"}, {"ada", ""}, {"eve", "enchantress"}, {"ada", "Enchantress"}, {"ada", strings.Repeat("x", 100)}} {
		for _, at := range closed {
			method, path, _ := strings.Cut(at, " ")
			r := request(method, path, "")
			if user.name != "" {
				r.SetBasicAuth(user.name, user.password)
			}
			w := do(h, r)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("X-Frame-Options") != "deny" {
				t.Errorf("%s with %q: %d %v", at, user, w.Code, w.Header())
			}
			errorOf(t, w)
		}
	}
	for _, header := range []string{"Bearer x", "Basic ???", "Basic " + base64.StdEncoding.EncodeToString([]byte("ada"))} {
		if w := do(h, request("GET", "/healthz", "", "Authorization", header)); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d", header, w.Code)
		}
	}
	for range 2 { // checked, and remembered
		for user, password := range map[string]string{"ada": "enchantress", "zoe": ""} {
			r := request("GET", "/healthz", "")
			r.SetBasicAuth(user, password)
			if w := do(h, r); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", user, w.Code, w.Body)
			}
		}
	}
	for _, probe := range []string{"/-/healthy", "/-/ready"} {
		if w := do(h, request("GET", probe, "")); w.Code != http.StatusOK || w.Header().Get("X-Frame-Options") != "deny" {
			t.Errorf("%s is not open: %d", probe, w.Code)
		}
	}
	r := request("GET", "/healthz", "")
	r.SetBasicAuth("ada", "enchantress")
	access.Users = map[string]string{"ada": hashed(t, "new", bcrypt.MinCost)}
	if w := do(h, r); w.Code != http.StatusUnauthorized {
		t.Errorf("with a password that was changed: %d", w.Code)
	}
	access = api.Access{Allow: func() bool { return false }}
	if w := do(h, request("GET", "/healthz", "")); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("above the rate limit: %d", w.Code)
	}
	if w := do(h, request("GET", "/-/ready", "")); w.Code != http.StatusOK {
		t.Errorf("a probe above the rate limit: %d", w.Code)
	}
}

// TestRenamedUser gives a user another name, with the same password: the old
// name is nobody's any more, though it was let in before.
func TestRenamedUser(t *testing.T) {
	hash := hashed(t, "enchantress", bcrypt.MinCost)
	access := api.Access{Users: map[string]string{"ada": hash}}
	h := newAPI(newFake(), func(c *api.Config) { c.Access = func() api.Access { return access } })
	login := func(user string) int {
		r := request("GET", "/healthz", "")
		r.SetBasicAuth(user, "enchantress")
		return do(h, r).Code
	}
	for range 2 { // checked, and remembered
		if ada, eve := login("ada"), login("eve"); ada != http.StatusOK || eve != http.StatusUnauthorized {
			t.Fatalf("ada: %d, eve: %d", ada, eve)
		}
	}
	access.Users = map[string]string{"eve": hash}
	for range 2 {
		if ada, eve := login("ada"), login("eve"); ada != http.StatusUnauthorized || eve != http.StatusOK {
			t.Fatalf("after the change, ada: %d, eve: %d", ada, eve)
		}
	}
}

// TestScrapes has more scrapes at once than are answered.
func TestScrapes(t *testing.T) {
	const most = 4
	begun, release := make(chan struct{}), make(chan struct{})
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-release
		fmt.Fprint(w, "{}")
	})
	h := newAPI(newFake(), func(c *api.Config) { c.MetricsPage = page })
	var wg sync.WaitGroup
	for range most {
		wg.Go(func() {
			if w := do(h, request("GET", "/metrics", "")); w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	for range most {
		<-begun
	}
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { answered <- do(h, request("GET", "/metrics", "")) }()
	select {
	case <-begun:
		t.Error("one too many is answered")
		close(release)
		<-answered
	case w := <-answered:
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		errorOf(t, w)
		close(release)
	}
	wg.Wait()
}

// TestGuessing has many guesses at once: they wait or are sent away, and who is
// logged in does not wait for them.
func TestGuessing(t *testing.T) {
	users := map[string]string{"ada": hashed(t, "enchantress", bcrypt.MinCost+3)}
	h := newAPI(newFake(), func(c *api.Config) { c.Access = func() api.Access { return api.Access{Users: users} } })
	login := func(password string) int {
		r := request("GET", "/healthz", "")
		r.SetBasicAuth("ada", password)
		return do(h, r).Code
	}
	if code := login("enchantress"); code != http.StatusOK {
		t.Fatal(code)
	}
	var wg sync.WaitGroup
	var refused, limited atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			switch code := login(fmt.Sprint("guess", i)); code {
			case http.StatusUnauthorized:
				refused.Add(1)
			case http.StatusTooManyRequests:
				limited.Add(1)
			default:
				t.Error(code)
			}
		})
	}
	for range 20 {
		if code := login("enchantress"); code != http.StatusOK {
			t.Error(code)
		}
	}
	wg.Wait()
	if refused.Load() == 0 || limited.Load() == 0 {
		t.Errorf("%d refused, %d sent away", refused.Load(), limited.Load())
	}
}

// TestRequestMetrics wants labels that clients cannot make up.
func TestRequestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newAPI(newFake(), func(c *api.Config) { c.Metrics = reg })
	for _, r := range []*http.Request{
		request("GET", "/api/v1/invocations/a", ""), request("GET", "/api/v1/invocations/b", ""),
		request("GET", "/nope/1", ""), request("GET", "/nope/2", ""), request("POST", "/api/v1/invocations", "nope\n"), request("BREW", "/healthz", ""),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"daybook_http_requests_total 200 /api/v1/invocations/*": 2,
		"daybook_http_requests_total 404 other":                 2,
		"daybook_http_requests_total 400 /api/v1/invocations":   1,
		"daybook_http_requests_total 405 /healthz":              1,
		"daybook_lines_refused_total":                           1,
		"daybook_queries_limit":                                 2,
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s is %g, want %g: %v", name, got[name], n, got)
		}
	}
}
