package daemon

import (
	"errors"
	"net/http"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// registry is what /metrics shows. docs/metrics.md lists it.
type registry struct{ *prometheus.Registry }

func newRegistry(build []Setting) registry {
	r := registry{prometheus.NewRegistry()}
	labels := prometheus.Labels{}
	for _, s := range build {
		labels[s.Name] = s.Value
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "daybook_build_info", Help: "1, with what was built as labels.", ConstLabels: labels})
	info.Set(1)
	r.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Register replaces a metric of the same name: a directory that is served
// read-only is opened again when its files change meanwhile.
func (r registry) Register(c prometheus.Collector) error {
	err := r.Registry.Register(c)
	var there prometheus.AlreadyRegisteredError
	if errors.As(err, &there) && r.Unregister(there.ExistingCollector) {
		return r.Registry.Register(c)
	}
	return err
}

// MustRegister is for metrics that are written down in the source: a mistake
// shows in the first test. The panic is the library's.
func (r registry) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		if r.Register(c) != nil {
			r.Registry.MustRegister(c)
		}
	}
}

// page serves everything that is registered, and what can be gathered if one
// collector fails.
func (r registry) page(logger log.Logger) http.Handler {
	return promhttp.HandlerFor(r.Registry, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{logger}, ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
	})
}

type scrapeLog struct{ logger log.Logger }

func (l scrapeLog) Println(v ...any) {
	level.Error(l.logger).Log(append([]any{"msg", "metrics incomplete", "err"}, v[len(v)-1:]...)...)
}
