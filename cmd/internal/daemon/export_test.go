package daemon

import "github.com/prometheus/client_golang/prometheus"

// NoBrokers describes the metrics of brokers.
func NoBrokers() prometheus.Collector { return brokerMetrics(nil) }

// NoTasks describes the metrics of tasks.
func NoTasks() prometheus.Collector { return &taskMetrics{} }
