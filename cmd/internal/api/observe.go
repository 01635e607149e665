package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are what Prometheus learns of requests. docs/metrics.md lists them.
type metrics struct {
	requests *prometheus.CounterVec
	refused  prometheus.Counter // queries
}

func (a *API) newMetrics() *metrics {
	f := promauto.With(a.Metrics)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "daybook_queries_running", Help: "Requests that read, running now."},
		func() float64 { return float64(len(a.queries)) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "daybook_queries_limit", Help: "Requests that read and may run at once (--query.max-concurrent)."},
		func() float64 { return float64(cap(a.queries)) })
	f.NewCounterFunc(prometheus.CounterOpts{Name: "daybook_lines_refused_total", Help: "Lines of bodies that could not be read as a record."},
		func() float64 { return float64(a.rejected.Load()) })
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "daybook_http_requests_total", Help: "Requests answered, by endpoint and status."}, []string{"handler", "code"}),
		refused:  f.NewCounter(prometheus.CounterOpts{Name: "daybook_queries_refused_total", Help: "Requests that read, refused with 429 because too many were running."}),
	}
}

// done counts a request. endpoint is a path of the table, so that clients
// cannot invent labels.
func (m *metrics) done(endpoint string, code int) {
	switch {
	case endpoint == "":
		endpoint = "other"
	case strings.HasSuffix(endpoint, "/"):
		endpoint += "*"
	}
	m.requests.WithLabelValues(endpoint, strconv.Itoa(code)).Inc()
}

// writer gives every piece of an answer a time limit, and the whole of it,
// against clients that do not read or read slowly, and notes the status.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	end     time.Time // of the whole answer, from its first piece
	code    int
}

// newWriter begins an answer. A body gets a time limit even if the handler has
// no use for it, because net/http reads the rest of it before it goes on.
func (a *API) newWriter(w http.ResponseWriter, r *http.Request) *writer {
	o := &writer{ResponseWriter: w, control: http.NewResponseController(w), stall: a.Stall}
	if r.ContentLength != 0 { // not every writer has deadlines (tests); the server's do
		_ = o.control.SetReadDeadline(time.Now().Add(a.Stall))
	}
	return o
}

func (o *writer) WriteHeader(code int) {
	if o.code == 0 && code >= http.StatusOK {
		o.code = code
	}
	o.ResponseWriter.WriteHeader(code)
}

func (o *writer) Write(p []byte) (int, error) {
	if o.code == 0 {
		o.code = http.StatusOK
	}
	now := time.Now()
	if o.end.IsZero() {
		o.end = now.Add(wholeBody * o.stall)
	}
	until := now.Add(o.stall)
	if o.end.Before(until) {
		until = o.end
	}
	_ = o.control.SetWriteDeadline(until)
	return o.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (o *writer) Unwrap() http.ResponseWriter { return o.ResponseWriter }
