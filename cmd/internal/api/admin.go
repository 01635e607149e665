package api

import (
	"context"
	"net/http"
	"net/http/pprof"
	"strconv"

	"daybook/tsdb/task"
)

// cut answers when everything is durable, however long that takes: the time
// limit of queries is not for it. It goes on when its client is gone.
func (a *API) cut(w http.ResponseWriter, r *http.Request, _ string) error {
	v, err := parameters(r, map[string]string{"seal": "seal"})
	if err != nil {
		return err
	}
	p := a.reader(v)
	seal := p.Flag("seal", false)
	if p.Err() != nil {
		return p.Err()
	}
	done, err := a.Store.Cut(context.WithoutCancel(r.Context()), seal)
	if err != nil {
		return err
	}
	body := strconv.AppendInt([]byte(`{"rows":`), done.Rows, 10)
	body = appendTexts(append(body, `,"days":`...), done.Days)
	a.reply(w, r, http.StatusOK, append(body, "}\n"...))
	return nil
}

// snapshot answers when the copy is durable, however long that takes. When its
// client goes away it is given up, and nothing is left of it.
func (a *API) snapshot(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	s, err := a.Store.Snapshot(r.Context())
	if err != nil {
		return err
	}
	body := task.AppendJSONString([]byte(`{"path":`), s.Path)
	body = appendTexts(append(body, `,"files":`...), s.Files)
	if len(s.Unreadable) > 0 {
		body = appendTexts(append(body, `,"unreadable":`...), s.Unreadable)
	}
	a.reply(w, r, http.StatusOK, append(body, "}\n"...))
	return nil
}

// profiler serves a profile of the process, for `go tool pprof`.
func profiler(name string) handler {
	serve := pprof.Handler(name).ServeHTTP
	switch name {
	case "profile":
		serve = pprof.Profile
	case "trace":
		serve = pprof.Trace
	}
	return func(w http.ResponseWriter, r *http.Request, _ string) error {
		serve(w, r)
		return nil
	}
}
