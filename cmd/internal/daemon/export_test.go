package daemon

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"daybook/cmd/internal/ingest"
)

// NoBrokers describes the metrics of brokers.
func NoBrokers() prometheus.Collector { return brokerMetrics(nil) }

// OneBroker shows the metrics of a broker in a state.
func OneBroker(s *ingest.Status) prometheus.Collector { return brokerMetrics{still{s}} }

// still is a consumer that does nothing.
type still struct{ s *ingest.Status }

func (c still) Run(context.Context) error { return nil }
func (c still) Status() ingest.Status     { return *c.s }

// NoTasks describes the metrics of tasks.
func NoTasks() prometheus.Collector { return &taskMetrics{} }
