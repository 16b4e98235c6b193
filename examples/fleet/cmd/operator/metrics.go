package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// What became of a report.
const (
	resultAccepted = "accepted"
	resultDenied   = "denied"
	resultFailed   = "failed"
	resultInvalid  = "invalid"
)

// results is the order in which /metrics lists them.
var results = [...]string{resultAccepted, resultDenied, resultFailed, resultInvalid}

// metrics counts reports by their result.
type metrics struct {
	reports map[string]*atomic.Int64 // never changed after newMetrics
}

func newMetrics() *metrics {
	m := &metrics{reports: map[string]*atomic.Int64{}}
	for _, result := range results {
		m.reports[result] = new(atomic.Int64)
	}
	return m
}

func (m *metrics) count(result string) { m.reports[result].Add(1) }

func (s *server) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	devices := s.registry.list()
	online := 0
	for _, d := range devices {
		if d.Online {
			online++
		}
	}
	family(w, "fleet_operator_build_info", "gauge", "The operator's version.")
	fmt.Fprintf(w, "fleet_operator_build_info{version=\"%s\"} 1\n", escapeLabel(s.version))
	family(w, "fleet_devices", "gauge", "Devices in the registry.")
	fmt.Fprintf(w, "fleet_devices %d\n", len(devices))
	family(w, "fleet_devices_online", "gauge", "Devices heard of lately.")
	fmt.Fprintf(w, "fleet_devices_online %d\n", online)
	family(w, "fleet_reports_total", "counter", "Reports by their result.")
	for _, result := range results {
		fmt.Fprintf(w, "fleet_reports_total{result=\"%s\"} %d\n", result, s.metrics.reports[result].Load())
	}
}

func family(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// escapeLabel escapes what the text format wants escaped in a label's value.
func escapeLabel(value string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(value)
}
