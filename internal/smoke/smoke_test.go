package smoke

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

const quick = protocol.Duration(10 * time.Millisecond)

// recorder keeps the events of a checker.
type recorder struct {
	mu     sync.Mutex
	events []protocol.Event
}

func (r *recorder) add(e protocol.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func newChecker(t *testing.T, env capability.Environment) capability.Checker {
	t.Helper()
	if env.Progress == nil {
		env.Progress = func(protocol.Event) {}
	}
	if env.Topology.Targets == nil {
		env.Topology = protocol.Topology{
			Metadata: protocol.Metadata{Name: "test"},
			Targets:  map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: "fleet"}}},
		}
	}
	c, err := New(&conn.Flags{}, nil)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func appWith(checks ...protocol.SmokeCheck) protocol.AppSpec {
	return protocol.AppSpec{Metadata: protocol.Metadata{Name: "fleet-operator", Version: "1.4.0"}, Smoke: checks}
}

// get is a check of a URL that answers fast.
func get(name, url string) protocol.SmokeCheck {
	return protocol.SmokeCheck{
		Name: name, HTTP: &protocol.HTTPCheck{URL: url},
		Timeout: protocol.Duration(200 * time.Millisecond), Interval: quick,
	}
}

// needing is the check, after others.
func needing(check protocol.SmokeCheck, names ...string) protocol.SmokeCheck {
	check.Needs = names
	return check
}

// answering starts a server that answers with the statuses in turn, the last
// one for ever, and counts its requests.
func answering(t *testing.T, statuses ...int) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(requests.Add(1))
		w.WriteHeader(statuses[min(n, len(statuses))-1])
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func statuses(report protocol.SmokeReport) string {
	var all []string
	for _, c := range report.Checks {
		all = append(all, string(c.Status))
	}
	return strings.Join(all, " ")
}

func TestCheckReport(t *testing.T) {
	ok, _ := answering(t, 200)
	down, _ := answering(t, 503)
	late, _ := answering(t, 503, 503, 200)
	flapping, _ := answering(t, 200, 503, 200, 200)
	thrice := get("steady", flapping)
	thrice.Successes = 2

	tests := []struct {
		name     string
		checks   []protocol.SmokeCheck
		code     int
		statuses string
		attempts int    // of the first check
		message  string // of the first check
	}{
		{"passes", []protocol.SmokeCheck{get("up", ok)}, 0, "passed", 1, "status 200"},
		{"tries again", []protocol.SmokeCheck{get("late", late)}, 0, "passed", 3, "status 200"},
		{"counts in a row", []protocol.SmokeCheck{thrice}, 0, "passed", 4, "status 200"},
		{"a failure skips what needs it", []protocol.SmokeCheck{get("down", down), needing(get("up", ok), "down"), needing(get("too", ok), "up"), get("beside", ok)},
			protocol.ExitSmoke, "failed skipped skipped passed", 0, "status 503, expected 200 to 399"},
		{"no checks", nil, 0, "", 0, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			report, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(test.checks...), "staging")
			if code := protocol.ExitCode(err); code != test.code {
				t.Fatalf("exit code %d (%v), want %d", code, err, test.code)
			}
			if got := statuses(report); got != test.statuses {
				t.Errorf("statuses %q, want %q", got, test.statuses)
			}
			if report.Passed != (test.code == 0) || report.Target != "staging" || report.Name != "fleet-operator" || report.Checks == nil {
				t.Errorf("report %+v", report)
			}
			if len(report.Checks) == 0 {
				return
			}
			first := report.Checks[0]
			if test.attempts != 0 && first.Attempts != test.attempts {
				t.Errorf("%d attempts, want %d", first.Attempts, test.attempts)
			}
			if !strings.Contains(first.Message, test.message) {
				t.Errorf("message %q does not contain %q", first.Message, test.message)
			}
			if first.Type != "http" || first.Duration <= 0 {
				t.Errorf("type %q, duration %v", first.Type, first.Duration)
			}
		})
	}
}

func TestFailedCheckIsNamed(t *testing.T) {
	down, _ := answering(t, 500)
	_, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(get("devices", down)), "staging")
	for _, want := range []string{`smoke check "devices" of fleet-operator on staging`, "status 500, expected 200 to 399"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not contain %q", err, want)
		}
	}
}

func TestSuccessesOutOfTime(t *testing.T) {
	ok, _ := answering(t, 200)
	check := get("steady", ok)
	check.Successes = 1000
	report, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(check), "staging")
	if protocol.ExitCode(err) != protocol.ExitSmoke {
		t.Fatalf("error %v, want a failed check", err)
	}
	if message := report.Checks[0].Message; !strings.Contains(message, "times in a row within 200ms, not 1000") {
		t.Errorf("message %q", message)
	}
}

func TestHungServer(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(stop) })
	start := time.Now()
	report, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(get("hung", server.URL)), "staging")
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.HasPrefix(report.Checks[0].Message, "no answer in 2") {
		t.Errorf("error %v, message %q", err, report.Checks[0].Message)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("a check of 200ms took %s", d)
	}
}

func TestInterrupted(t *testing.T) {
	down, requests := answering(t, 503)
	ctx, cancel := context.WithCancel(t.Context())
	check := get("down", down)
	check.Timeout = protocol.Duration(time.Minute)
	go func() {
		defer cancel()
		for requests.Load() < 2 {
			time.Sleep(time.Millisecond)
		}
	}()
	report, err := newChecker(t, capability.Environment{}).Check(ctx, appWith(check, check), "staging")
	if !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("error %v (exit %d), want an interruption", err, protocol.ExitCode(err))
	}
	if report.Passed {
		t.Error("an interrupted report has passed")
	}
}

func TestDryRun(t *testing.T) {
	ok, requests := answering(t, 200)
	env := capability.Environment{DryRun: true}
	report, err := newChecker(t, env).Check(t.Context(), appWith(get("a", ok), get("b", ok)), "staging")
	if err != nil || !report.Planned || report.Passed || statuses(report) != "skipped skipped" {
		t.Errorf("report %+v, error %v", report, err)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("a dry run sent %d requests", n)
	}
}

func TestInvalidChecksStartNothing(t *testing.T) {
	ok, requests := answering(t, 200)
	tests := map[string]struct {
		http protocol.HTTPCheck
		want string
	}{
		"path":    {protocol.HTTPCheck{URL: ok, Expect: protocol.HTTPExpect{JSON: []protocol.JSONExpect{{Path: "{.a["}}}}, "http.expect.json[0].path"},
		"no CA":   {protocol.HTTPCheck{URL: ok, TLS: &protocol.TLSConfig{CAFile: "missing.pem"}}, "http.tls.caFile"},
		"not PEM": {protocol.HTTPCheck{URL: ok, TLS: &protocol.TLSConfig{CAFile: "smoke_test.go"}}, "contains no PEM certificate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bad := protocol.SmokeCheck{Name: "bad", HTTP: &test.http}
			app := appWith(get("good", ok), bad)
			app.ProjectRoot = "."
			_, err := newChecker(t, capability.Environment{}).Check(t.Context(), app, "staging")
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "spec.smoke[1] (bad): ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want an invalid spec.smoke[1] with %q", err, test.want)
			}
		})
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestUnknownTarget(t *testing.T) {
	ok, _ := answering(t, 200)
	_, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(get("a", ok)), "moon")
	if err == nil || !strings.Contains(err.Error(), "moon") || protocol.ExitCode(err) == protocol.ExitSmoke {
		t.Errorf("error %v, want one that names the target", err)
	}
}

func TestProgress(t *testing.T) {
	ok, _ := answering(t, 200)
	var r recorder
	if _, err := newChecker(t, capability.Environment{Progress: r.add}).Check(t.Context(), appWith(get("a", ok), needing(get("b", ok), "a")), "staging"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range r.events {
		got = append(got, fmt.Sprintf("%s %s %d/%d %s %s", e.Name, e.Phase, e.Current, e.Total, e.Unit, e.Message))
	}
	want := []string{"fleet-operator smoke 0/2 checks a", "fleet-operator smoke 1/2 checks a", "fleet-operator smoke 1/2 checks b", "fleet-operator smoke 2/2 checks b"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestConcurrentApps(t *testing.T) {
	ok, requests := answering(t, 200)
	checker := newChecker(t, capability.Environment{})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if report, err := checker.Check(t.Context(), appWith(get("a", ok), needing(get("b", ok), "a")), "staging"); err != nil || !report.Passed {
				t.Errorf("report %+v, error %v", report, err)
			}
		})
	}
	group.Wait()
	if n := requests.Load(); n != 16 {
		t.Errorf("%d requests, want 16", n)
	}
}

func TestTCPAddress(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	check := protocol.SmokeCheck{Name: "port", TCP: &protocol.TCPCheck{Address: address}, Timeout: 3 * quick, Interval: quick}
	report, err := newChecker(t, capability.Environment{}).Check(t.Context(), appWith(check), "staging")
	if err != nil || report.Checks[0].Message != "connected to "+address || report.Checks[0].Type != "tcp" {
		t.Errorf("report %+v, error %v", report, err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	report, err = newChecker(t, capability.Environment{}).Check(t.Context(), appWith(check), "staging")
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(report.Checks[0].Message, "connection refused") {
		t.Errorf("report %+v, error %v", report, err)
	}
}

// A cluster that does not answer says nothing about the app either.
func TestUnreachableCluster(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"http://%s"}}],"users":[{"name":"u","user":{}}]}`, listener.Addr())
	if err := errors.Join(listener.Close(), os.WriteFile(kubeconfig, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	checker := &checker{flags: &conn.Flags{Kubeconfig: kubeconfig}, env: capability.Environment{
		Progress: func(protocol.Event) {},
		Topology: protocol.Topology{Targets: map[string]protocol.Target{"staging": {InCluster: &protocol.InCluster{Namespace: "fleet"}}}},
	}}
	for _, check := range []protocol.SmokeCheck{
		{Name: "rollout", Rollout: &protocol.RolloutCheck{}},
		{Name: "http", HTTP: &protocol.HTTPCheck{Service: "fleet", Port: 80}},
		{Name: "tcp", TCP: &protocol.TCPCheck{Service: "fleet"}},
	} {
		check.Timeout, check.Interval = 10*quick, quick
		report, err := checker.Check(t.Context(), appWith(check), "staging")
		if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), listener.Addr().String()) || report.Checks[0].Attempts < 2 {
			t.Errorf("report %+v, error %v; want several attempts and a retryable error", report, err)
		}
	}
}
