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
	// coverage says, of what is not found, where it may be after all; nil of
	// everything else.
	coverage *tsdb.Coverage
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

// classify maps an error to what the client is told, by consequence. ctx is the
// request's.
func classify(ctx context.Context, err error) (e *statusError, unexpected bool) {
	var wrong *params.Error
	var missing *tsdb.NotFoundError
	switch {
	case errors.As(err, &e):
		return e, false
	case errors.As(err, &wrong):
		return &statusError{code: http.StatusBadRequest, text: wrong.Error()}, false
	case errors.As(err, &missing):
		return &statusError{code: http.StatusNotFound, text: err.Error(), coverage: &missing.Coverage}, false
	case errors.Is(err, tsdb.ErrNotFound):
		return &statusError{code: http.StatusNotFound, text: err.Error()}, false
	case errors.Is(err, tsdb.ErrNotReady), errors.Is(err, tsdb.ErrOverloaded):
		return &statusError{code: http.StatusServiceUnavailable, retry: retrySoon, text: err.Error()}, false
	case errors.Is(err, tsdb.ErrDiskFull), errors.Is(err, tsdb.ErrStalled): // the store logs it, at a bounded rate
		return &statusError{code: http.StatusServiceUnavailable, retry: retryDisk, text: err.Error()}, false
	case errors.Is(err, tsdb.ErrTooLarge):
		return &statusError{code: http.StatusRequestEntityTooLarge, text: err.Error()}, false
	case errors.Is(err, tsdb.ErrReadOnly):
		return &statusError{code: http.StatusMethodNotAllowed, text: err.Error()}, false
	case errors.Is(err, context.DeadlineExceeded):
		return &statusError{code: http.StatusGatewayTimeout, text: "it took longer than the time limit"}, false
	case errors.Is(err, context.Canceled) && hungUp(ctx):
		return &statusError{code: statusHungUp, text: "the client closed the connection before the answer was there"}, false
	case errors.Is(err, context.Canceled), errors.Is(err, tsdb.ErrClosed):
		return &statusError{code: http.StatusServiceUnavailable, retry: retrySoon, text: "the daemon is shutting down"}, false
	}
	return &statusError{code: http.StatusServiceUnavailable, retry: retryDisk, text: err.Error()}, true
}

// fail answers with an error. It logs what nobody could expect, once.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, unexpected := classify(r.Context(), err)
	if unexpected {
		level.Error(a.Logger).Log("msg", "request failed", "method", r.Method, "path", params.Clip(r.URL.Path), "err", err)
	}
	if e.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.retry))
	}
	body := task.AppendJSONString([]byte(`{"error":`), e.text)
	if e.coverage != nil {
		body = appendCoverage(append(body, `,"coverage":`...), e.coverage)
	}
	a.reply(w, r, e.code, append(body, "}\n"...))
}
