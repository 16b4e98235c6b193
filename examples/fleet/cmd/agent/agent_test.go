package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/fleet/internal/service"
)

// startAgent gives an agent that reports to an operator made of handler.
func startAgent(t *testing.T, handler http.HandlerFunc) *agent {
	t.Helper()
	operator := httptest.NewServer(handler)
	t.Cleanup(operator.Close)
	vars := map[string]string{
		"DEVICE_ID": "fleet-agent-0", "TOKEN": "s3same", "APP_VERSION": "1.2.3",
		"OPERATOR_URL": operator.URL, "REPORT_INTERVAL": "1ms",
	}
	a, err := newAgent(slog.New(slog.DiscardHandler), func(name string) string { return vars[name] })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestReport(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		wantErr string
	}{
		{"accepted", 204, "", ""},
		{"refused with a reason", 403, `{"error":"not you"}`, "403 Forbidden: not you"},
		{"refused without JSON", 502, "<html>", "502 Bad Gateway"},
		{"another success is none", 200, "{}", "200 OK"},
		{"a redirect is not followed", 307, "", "307"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := startAgent(t, func(w http.ResponseWriter, r *http.Request) {
				var body struct{ Version string }
				if !service.ReadJSON(w, r, &body) {
					return
				}
				if r.URL.Path != "/devices/fleet-agent-0/report" || r.Header.Get("Authorization") != "Bearer s3same" || body.Version != "1.2.3" {
					t.Errorf("got %s %s, version %q", r.Method, r.URL, body.Version)
				}
				if !r.Close {
					t.Error("the connection is kept, so other operators hear nothing")
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			})
			err := a.report(t.Context())
			if (err == nil) != (test.wantErr == "") || (err != nil && !strings.Contains(err.Error(), test.wantErr)) {
				t.Errorf("got error %v, want %q", err, test.wantErr)
			}
		})
	}
}

func TestReadyAfterFirstAcceptedReport(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var calls atomic.Int32
	a := startAgent(t, func(w http.ResponseWriter, _ *http.Request) {
		switch calls.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusNoContent)
		default:
			stop()
		}
	})
	if got := readiness(a); got != http.StatusServiceUnavailable {
		t.Errorf("before any report: got %d", got)
	}
	a.loop(ctx)
	if got := readiness(a); got != http.StatusOK {
		t.Errorf("after an accepted report: got %d", got)
	}
	if n := calls.Load(); n < 3 {
		t.Errorf("reported %d times, want at least 3", n)
	}
}

func TestNotReadyWhileRefused(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var calls atomic.Int32
	a := startAgent(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		if calls.Add(1) == 2 {
			stop()
		}
	})
	a.loop(ctx)
	if got := readiness(a); got != http.StatusServiceUnavailable {
		t.Errorf("got %d", got)
	}
}

func TestDelay(t *testing.T) {
	tests := []struct {
		failures int
		want     time.Duration
	}{
		{0, 2 * time.Second},
		{1, 250 * time.Millisecond},
		{2, 500 * time.Millisecond},
		{6, 8 * time.Second},
		{7, 15 * time.Second},
		{1_000_000, 15 * time.Second},
	}
	for _, test := range tests {
		if got := delay(2*time.Second, test.failures); got != test.want {
			t.Errorf("after %d failures: got %s, want %s", test.failures, got, test.want)
		}
	}
}

func TestJitterStaysWithinAFifth(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := jitter(time.Second)
		if d < 800*time.Millisecond || d > 1200*time.Millisecond {
			t.Fatalf("got %s", d)
		}
		seen[d] = true
	}
	if len(seen) < 100 {
		t.Errorf("only %d different values in 1000", len(seen))
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	tests := []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{}, "TOKEN"},
		{map[string]string{"TOKEN": "x", "REPORT_INTERVAL": "soon"}, "REPORT_INTERVAL"},
		{map[string]string{"TOKEN": "x", "OPERATOR_URL": "operator"}, "OPERATOR_URL"},
	}
	for _, test := range tests {
		_, err := newAgent(slog.New(slog.DiscardHandler), func(name string) string { return test.vars[name] })
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got error %v, want one with %s", test.vars, err, test.want)
		}
	}
}

func readiness(a *agent) int {
	w := httptest.NewRecorder()
	a.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code
}
