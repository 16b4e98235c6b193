package smoke

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Ten checks take as long as the slowest.
func TestChecksRunSideBySide(t *testing.T) {
	var arrived atomic.Int64
	all := make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == 10 {
			close(all)
		}
		select {
		case <-all:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	var checks []protocol.SmokeCheck
	for i := range 10 {
		check := get(fmt.Sprint(i), server.URL)
		check.Timeout = protocol.Duration(20 * time.Second)
		checks = append(checks, check)
	}
	report, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(checks...), "staging")
	if err != nil || strings.Count(statuses(report), "passed") != 10 {
		t.Errorf("%s, %v", statuses(report), err)
	}
}

func TestEveryFailureIsTold(t *testing.T) {
	down, _ := answering(t, 503)
	report, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(get("a", down), needing(get("c", down), "a"), get("b", down)), "staging")
	if protocol.ExitCode(err) != protocol.ExitSmoke {
		t.Fatal(err)
	}
	for _, want := range []string{"2 of 3 smoke checks of fleet-operator failed on staging\n", `  smoke check "a" of fleet-operator on staging: GET`, ` attempts)`, `  smoke check "b"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not contain %q", err, want)
		}
	}
	if got := report.Checks[1]; got.Status != protocol.CheckSkipped || got.Message != "needs a, which failed" || got.Attempts != 0 {
		t.Errorf("the one that needs it: %+v", got)
	}
}

// A check that must hold for a time starts again when it fails.
func TestHeldFor(t *testing.T) {
	held, requests := answering(t, 200, 503, 200)
	check := get("held", held)
	check.For, check.Timeout = protocol.Duration(100*time.Millisecond), protocol.Duration(20*time.Second)
	start := time.Now()
	report, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(check), "staging")
	if err != nil || time.Since(start) < 100*time.Millisecond || requests.Load() < 4 {
		t.Errorf("%v, %d requests in %s: %+v", err, requests.Load(), time.Since(start), report)
	}
	check.For, check.Timeout = protocol.Duration(time.Minute), protocol.Duration(200*time.Millisecond)
	if _, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(check), "staging"); err == nil || !strings.Contains(err.Error(), "not for 1m0s") {
		t.Errorf("there was no time to hold: %v", err)
	}
}

// What fails at the start does not use up the time.
func TestStartupGrace(t *testing.T) {
	late := time.Now().Add(400 * time.Millisecond)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().Before(late) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	check := get("slow to start", server.URL)
	check.Timeout = protocol.Duration(100 * time.Millisecond)
	check.StartupGrace = protocol.Duration(20 * time.Second)
	if _, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(check), "staging"); err != nil {
		t.Error(err)
	}
}
