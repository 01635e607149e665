package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"daybook/cmd/internal/params"
)

// handler answers a request or says why not; arg is the rest of the path.
type handler func(w http.ResponseWriter, r *http.Request, arg string) error

// route is what one path understands, by method.
type route map[string]handler

const (
	invocationPrefix = "/api/v1/invocations/"
	taskPrefix       = "/api/v1/tasks/"
	seriesPath       = "/api/v1/tasks/{name}/series" // as it is called in the table and in metrics
	workflowPrefix   = "/api/v1/workflows/"
	seriesSuffix     = "/series"
	pathHealthy      = "/-/healthy"
	pathReady        = "/-/ready"
	pathMetrics      = "/metrics"
	pathPprof        = "/debug/pprof/"
)

func (a *API) table() map[string]route {
	t := map[string]route{
		"/api/v1/invocations":      {http.MethodGet: a.list, http.MethodPost: a.postInvocations},
		invocationPrefix:           {http.MethodGet: a.get},
		"/api/v1/events":           {http.MethodPost: a.postEvents},
		"/api/v1/count":            {http.MethodGet: a.count},
		"/api/v1/tasks":            {http.MethodGet: a.tasks},
		taskPrefix:                 {http.MethodGet: a.task},
		seriesPath:                 {http.MethodGet: a.series},
		workflowPrefix:             {http.MethodGet: a.workflow},
		"/api/v1/blocks":           {http.MethodGet: a.blocks},
		"/api/v1/status/flags":     {http.MethodGet: a.flags},
		"/api/v1/status/buildinfo": {http.MethodGet: a.buildinfo},
		"/healthz":                 {http.MethodGet: a.healthz},
		pathHealthy:                {http.MethodGet: a.healthy},
		pathReady:                  {http.MethodGet: a.ready},
	}
	if a.MetricsPage != nil {
		t[pathMetrics] = route{http.MethodGet: a.scrape}
	}
	if a.EnableAdmin {
		t["/api/v1/admin/cut"] = route{http.MethodPost: a.cut}
		t["/api/v1/admin/snapshot"] = route{http.MethodPost: a.snapshot}
		for _, name := range []string{"allocs", "goroutine", "heap", "profile", "trace"} {
			t[pathPprof+name] = route{http.MethodGet: profiler(name)}
		}
	}
	return t
}

// ServeHTTP does its own routing: http.ServeMux cleans paths, and a task_id may
// be "a//b" or "..".
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o := a.newWriter(w, r)
	r, done := outlast(r)
	defer done()
	endpoint, arg, err := a.match(r)
	if refused := a.admit(o, r, endpoint); refused != nil {
		err = refused
	}
	if err == nil {
		err = a.serve(o, r, endpoint, arg)
	}
	if err != nil {
		a.fail(o, r, err)
	}
	a.metrics.done(endpoint, o.code)
}

// match finds the path in the table of routes, "" if it is not there.
func (a *API) match(r *http.Request) (endpoint, arg string, err error) {
	path := r.URL.EscapedPath()
	for _, prefix := range []string{invocationPrefix, taskPrefix, workflowPrefix} {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok || rest == "" {
			continue
		}
		endpoint := prefix
		if name, ok := strings.CutSuffix(rest, seriesSuffix); ok && prefix == taskPrefix {
			endpoint, rest = seriesPath, name
		}
		if rest == "" {
			break
		}
		if arg, err = url.PathUnescape(rest); err != nil { // of a request that did not come through net/http, which answers by itself
			err = refuse(http.StatusBadRequest, "the path is not percent-encoded: %v", err)
		}
		return endpoint, arg, err
	}
	if _, ok := a.routes[path]; !ok || strings.HasSuffix(path, "/") { // no id, no such page
		return "", "", nil
	}
	return path, "", nil
}

// maxScrapes is how many scrapes are answered at once.
const maxScrapes = 4

// scrape hands over to the page for Prometheus, which compresses by itself.
// Whatever parameters there are: scrapers send their own.
func (a *API) scrape(w http.ResponseWriter, r *http.Request, _ string) error {
	select {
	case a.scrapes <- struct{}{}:
		defer func() { <-a.scrapes }()
	default:
		return &statusError{code: http.StatusServiceUnavailable, retry: retrySoon, text: "too many scrapes at once, more than " + strconv.Itoa(maxScrapes)}
	}
	a.MetricsPage.ServeHTTP(w, r)
	return nil
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, endpoint, arg string) error {
	methods, ok := a.routes[endpoint]
	if !ok {
		return refuse(http.StatusNotFound, "no such endpoint: %s", params.Clip(r.URL.Path))
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if a.ReadOnly && method == http.MethodPost && methods[method] != nil {
		w.Header().Set("Allow", allow(methods, true))
		return refuse(http.StatusMethodNotAllowed, "the data directory is served read-only")
	}
	h := methods[method]
	if h == nil {
		w.Header().Set("Allow", allow(methods, a.ReadOnly))
		return refuse(http.StatusMethodNotAllowed, "%s is not possible here, only %s", params.Clip(r.Method), w.Header().Get("Allow"))
	}
	return h(w, r, arg)
}

// allow is the Allow header of a route.
func allow(methods route, readOnly bool) string {
	var list []string
	for m := range methods {
		if m == http.MethodGet {
			list = append(list, http.MethodHead)
		}
		if m != http.MethodPost || !readOnly {
			list = append(list, m)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
