package server

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"coldframe/daemon"
)

// newRegistry returns the figures of one agent and of its process.
func newRegistry(a *daemon.Agent) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(agentCollector{a}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// agentCollector asks the agent when somebody asks for figures.
type agentCollector struct{ agent *daemon.Agent }

type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(daemon.Metrics) float64
}

func newFigure(name, help string, kind prometheus.ValueType, value func(daemon.Metrics) int64) figure {
	return figure{prometheus.NewDesc("coldframe_"+name, help, nil, nil), kind, func(m daemon.Metrics) float64 { return float64(value(m)) }}
}

var figures = []figure{
	newFigure("datasets", "Datasets.", prometheus.GaugeValue, func(m daemon.Metrics) int64 { return m.Datasets }),
	newFigure("uploads", "Transfers to the store in work.", prometheus.GaugeValue, func(m daemon.Metrics) int64 { return m.Uploads }),
	newFigure("downloads", "Transfers from the store in work.", prometheus.GaugeValue, func(m daemon.Metrics) int64 { return m.Downloads }),
	newFigure("rows_in_total", "Rows written.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.RowsIn }),
	newFigure("bytes_in_total", "Bytes of bodies read.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.BytesIn }),
	newFigure("bytes_stored_total", "Bytes put into the store.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.BytesStored }),
	newFigure("rows_out_total", "Rows read.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.RowsOut }),
	newFigure("writes_ok_total", "Writes that became a version.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.WritesOK }),
	newFigure("writes_failed_total", "Writes that did not.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.WritesFailed }),
	newFigure("cache_bytes", "Bytes in the cache of the bucket.", prometheus.GaugeValue, func(m daemon.Metrics) int64 { return m.CacheUsed }),
	newFigure("cache_hit_bytes_total", "Bytes read from it.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.CacheHit }),
	newFigure("cache_fetched_bytes_total", "Bytes that it lacked.", prometheus.CounterValue, func(m daemon.Metrics) int64 { return m.CacheFetched }),
	newFigure("subscribers", "Readers of events.", prometheus.GaugeValue, func(m daemon.Metrics) int64 { return m.Subscribers }),
	newFigure("events_logged", "Events in the log.", prometheus.GaugeValue, func(m daemon.Metrics) int64 { return m.EventsLogged }),
	newFigure("unlocked", "1 while the vault is open.", prometheus.GaugeValue, func(m daemon.Metrics) int64 {
		if m.Unlocked {
			return 1
		}
		return 0
	}),
}

// Describe implements prometheus.Collector.
func (agentCollector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range figures {
		out <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c agentCollector) Collect(out chan<- prometheus.Metric) {
	m := c.agent.Metrics()
	for _, f := range figures {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(m))
	}
}

// GetMetrics answers with the figures.
func (h *handlers) GetMetrics(ctx context.Context, _ GetMetricsRequestObject) (GetMetricsResponseObject, error) {
	return metricsAnswer{ctx, h.metrics}, nil
}

type metricsAnswer struct {
	ctx      context.Context //nolint:containedctx // the generated interface has no parameter for it
	registry *prometheus.Registry
}

// VisitGetMetricsResponse implements GetMetricsResponseObject. The text format is the only one.
func (m metricsAnswer) VisitGetMetricsResponse(w http.ResponseWriter) error {
	r, err := http.NewRequestWithContext(m.ctx, http.MethodGet, "/metrics", http.NoBody)
	if err != nil {
		return err
	}
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, r)
	return nil
}
