package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the figures of one server and its process.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	streams  prometheus.Gauge
	swept    prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coldframe_coordinator_requests_total", Help: "Requests answered."},
			[]string{"operation", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coldframe_coordinator_request_seconds", Help: "Time to answer, streams of events aside.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"operation"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "coldframe_coordinator_event_streams", Help: "Agents that wait for events."}),
		swept:   prometheus.NewCounter(prometheus.CounterOpts{Name: "coldframe_coordinator_expired_total", Help: "Records removed because their time was over."}),
	}
	m.registry.MustRegister(m.requests, m.took, m.streams, m.swept,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(c *call, status int) {
	operation := "none"
	if c.route != nil {
		operation = c.route.operation
		if !c.route.streaming {
			m.took.WithLabelValues(operation).Observe(time.Since(c.start).Seconds())
		}
	}
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
}

// Metrics answers with the figures in the text format of Prometheus, for a listener of its own.
func (s *Server) Metrics() http.Handler {
	return promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{DisableCompression: true})
}

// Health answers as GET /healthz does, for a listener beside the API.
func (s *Server) Health(w http.ResponseWriter, r *http.Request) {
	if s.healthy(r.Context()) != nil {
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ok")) //nolint:errcheck // the caller has gone
}
