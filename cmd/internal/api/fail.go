package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-kit/log/level"

	"daybook/cmd/internal/params"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// statusError is an error whose HTTP status is known.
type statusError struct {
	code  int
	retry int // seconds until another try makes sense; 0 says nothing
	text  string
}

func (e *statusError) Error() string { return e.text }

func refuse(code int, format string, args ...any) error {
	return &statusError{code: code, text: fmt.Sprintf(format, args...)}
}

// Seconds to wait, by what stands in the way.
const (
	retrySoon = 1 // replay, a full head, too many queries
	retryDisk = 5 // a disk that refuses to write
)

// classify maps an error to what the client is told, by consequence.
func classify(err error) (e *statusError, unexpected bool) {
	var wrong *params.Error
	switch {
	case errors.As(err, &e):
		return e, false
	case errors.As(err, &wrong):
		return &statusError{http.StatusBadRequest, 0, wrong.Error()}, false
	case errors.Is(err, tsdb.ErrNotFound):
		return &statusError{http.StatusNotFound, 0, err.Error()}, false
	case errors.Is(err, tsdb.ErrNotReady), errors.Is(err, tsdb.ErrOverloaded):
		return &statusError{http.StatusServiceUnavailable, retrySoon, err.Error()}, false
	case errors.Is(err, tsdb.ErrDiskFull), errors.Is(err, tsdb.ErrStalled): // the store logs it, at a bounded rate
		return &statusError{http.StatusServiceUnavailable, retryDisk, err.Error()}, false
	case errors.Is(err, tsdb.ErrTooLarge):
		return &statusError{http.StatusRequestEntityTooLarge, 0, err.Error()}, false
	case errors.Is(err, tsdb.ErrReadOnly):
		return &statusError{http.StatusMethodNotAllowed, 0, err.Error()}, false
	case errors.Is(err, context.DeadlineExceeded):
		return &statusError{http.StatusGatewayTimeout, 0, "it took longer than the time limit"}, false
	case errors.Is(err, context.Canceled), errors.Is(err, tsdb.ErrClosed):
		return &statusError{http.StatusServiceUnavailable, retrySoon, "the daemon is shutting down"}, false
	}
	return &statusError{http.StatusServiceUnavailable, retryDisk, err.Error()}, true
}

// fail answers with an error. It logs what nobody could expect, once.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, unexpected := classify(err)
	if unexpected {
		level.Error(a.Logger).Log("msg", "request failed", "method", r.Method, "path", clip(r.URL.Path), "err", err)
	}
	if e.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.retry))
	}
	body := task.AppendJSONString([]byte(`{"error":`), e.text)
	a.reply(w, r, e.code, append(body, "}\n"...))
}
