package api

import (
	"net/http"
	"strconv"
	"time"
)

const (
	// largeAnswer is what an answer may hold in memory without being counted.
	largeAnswer = 1 << 20
	// largePerQuery is how many large answers may be on their way for each query
	// that may run: clients that do not read hold their pages, and there may be
	// any number of them.
	largePerQuery = 2
)

// deliver takes a place among the answers that are being sent, for one that
// holds so many bytes. A query has given its own place back by then, and holds
// no file any more.
func (a *API) deliver(r *http.Request, bytes int64) (done func(), err error) {
	if bytes <= largeAnswer {
		return func() {}, nil
	}
	full := time.NewTimer(queueFor)
	defer full.Stop()
	select {
	case a.large <- struct{}{}:
		return func() { <-a.large }, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-full.C:
		a.metrics.refused.Inc()
		return nil, &statusError{code: http.StatusTooManyRequests, retry: retrySoon, text: strconv.Itoa(cap(a.large)) + " large answers are being read slowly: try again, with a smaller limit or details=false"}
	}
}
