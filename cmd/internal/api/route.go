package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// handler answers a request or says why not; arg is the rest of the path.
type handler func(w http.ResponseWriter, r *http.Request, arg string) error

// route is what one path understands, by method.
type route map[string]handler

const invocationPrefix = "/api/v1/invocations/"

func (a *API) table() map[string]route {
	t := map[string]route{
		"/api/v1/invocations":      {http.MethodGet: a.list, http.MethodPost: a.postInvocations},
		invocationPrefix:           {http.MethodGet: a.get},
		"/api/v1/events":           {http.MethodPost: a.postEvents},
		"/api/v1/blocks":           {http.MethodGet: a.blocks},
		"/api/v1/status/flags":     {http.MethodGet: a.flags},
		"/api/v1/status/buildinfo": {http.MethodGet: a.buildinfo},
		"/healthz":                 {http.MethodGet: a.healthz},
		"/-/healthy":               {http.MethodGet: a.healthy},
		"/-/ready":                 {http.MethodGet: a.ready},
	}
	if a.EnableAdmin {
		t["/api/v1/admin/cut"] = route{http.MethodPost: a.cut}
	}
	return t
}

// ServeHTTP does its own routing: http.ServeMux cleans paths, and a task_id may
// be "a//b" or "..".
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := a.serve(w, r); err != nil {
		a.fail(w, r, err)
	}
}

func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	path, arg := r.URL.EscapedPath(), ""
	if rest, ok := strings.CutPrefix(path, invocationPrefix); ok && rest != "" {
		id, err := url.PathUnescape(rest)
		if err != nil {
			return refuse(http.StatusBadRequest, "the task_id in the path is not percent-encoded: %v", err)
		}
		path, arg = invocationPrefix, id
	} else if ok {
		path = "" // no id, no such page
	}
	methods, ok := a.routes[path]
	if !ok {
		return refuse(http.StatusNotFound, "no such endpoint: %s", clip(r.URL.Path))
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
		return refuse(http.StatusMethodNotAllowed, "%s is not possible here, only %s", clip(r.Method), w.Header().Get("Allow"))
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

// clip shortens what came from outside for an error message.
func clip(s string) string {
	const limit = 200
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
