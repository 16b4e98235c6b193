package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/fleet/internal/service"
)

// startCallout serves a callout that admits the token "good" and fails on
// "broken".
func startCallout(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /admit", func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Device, Token string }
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || request.Token == "broken" {
			service.WriteError(w, http.StatusInternalServerError, "broken")
			return
		}
		service.WriteJSON(w, http.StatusOK, decision{Allowed: request.Token == "good", Reason: "as tested"})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func newServer(url string) *server {
	return &server{
		log:       slog.New(slog.DiscardHandler),
		version:   `1.2.3-"x"`,
		registry:  testRegistry(time.Now),
		admission: newCallout(url),
		metrics:   newMetrics(),
	}
}

func testRegistry(now func() time.Time) *registry {
	return &registry{
		devices: map[string]device{}, capacity: 2, now: now,
		offlineAfter: 10 * time.Second, forgetAfter: time.Minute,
	}
}

func TestReport(t *testing.T) {
	tests := []struct {
		name, id, authorization, body string
		status                        int
		result                        string
	}{
		{"good", "agent-1", "Bearer good", `{"version":"1.0.0"}`, 204, resultAccepted},
		{"scheme in small letters", "agent-1", "bearer good", `{}`, 204, resultAccepted},
		{"no token", "agent-1", "", `{}`, 401, resultDenied},
		{"other scheme", "agent-1", "Basic good", `{}`, 401, resultDenied},
		{"denied", "agent-1", "Bearer bad", `{}`, 403, resultDenied},
		{"callout fails", "agent-1", "Bearer broken", `{}`, 503, resultFailed},
		{"bad id", "Agent_1", "Bearer good", `{}`, 400, resultInvalid},
		{"long id", strings.Repeat("a", 64), "Bearer good", `{}`, 400, resultInvalid},
		{"bad body", "agent-1", "Bearer good", `version`, 400, resultInvalid},
		{"large body", "agent-1", "Bearer good", `{"version":"` + strings.Repeat("x", service.MaxBody) + `"}`, 413, resultInvalid},
		{"long version", "agent-1", "Bearer good", `{"version":"` + strings.Repeat("x", 129) + `"}`, 400, resultInvalid},
	}
	url := startCallout(t).URL
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(url)
			got := report(s, test.id, test.authorization, test.body)
			if got.Code != test.status {
				t.Errorf("got %d %s, want %d", got.Code, got.Body, test.status)
			}
			if n := s.metrics.reports[test.result].Load(); n != 1 {
				t.Errorf("%s is counted %d times, want once", test.result, n)
			}
			if held := len(s.registry.list()); held != 0 && test.status != 204 {
				t.Errorf("a refused report is in the registry")
			}
		})
	}
}

func TestDevicesAfterReport(t *testing.T) {
	s := newServer(startCallout(t).URL)
	if got := get(s, "/devices").Body.String(); got != "{\"devices\":[]}\n" {
		t.Errorf("without devices: %q", got)
	}
	report(s, "agent-2", "Bearer good", `{"version":"1.0.0"}`)
	report(s, "agent-1", "Bearer good", `{"version":"1.1.0"}`)
	var answer struct{ Devices []device }
	if err := json.Unmarshal(get(s, "/devices").Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Devices) != 2 {
		t.Fatalf("got %+v, want two devices", answer.Devices)
	}
	first := answer.Devices[0]
	if first.ID != "agent-1" || first.Version != "1.1.0" || !first.Online || first.Reports != 1 {
		t.Errorf("got %+v", first)
	}
	if got := report(s, "agent-3", "Bearer good", `{}`); got.Code != http.StatusInsufficientStorage {
		t.Errorf("a device beyond the capacity: got %d", got.Code)
	}
	if got := report(s, "agent-2", "Bearer good", `{}`); got.Code != http.StatusNoContent {
		t.Errorf("a known device in a full registry: got %d", got.Code)
	}
}

func TestReadyFollowsCallout(t *testing.T) {
	callout := startCallout(t)
	s := newServer(callout.URL)
	if got := get(s, "/readyz"); got.Code != http.StatusOK {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
	callout.Close()
	if got := get(s, "/readyz"); got.Code != http.StatusServiceUnavailable {
		t.Errorf("without callout: got %d", got.Code)
	}
	if got := get(s, "/healthz"); got.Code != http.StatusOK {
		t.Errorf("/healthz without callout: got %d", got.Code)
	}
}

func TestMetrics(t *testing.T) {
	s := newServer(startCallout(t).URL)
	report(s, "agent-1", "Bearer good", `{}`)
	report(s, "agent-1", "Bearer bad", `{}`)
	got := get(s, "/metrics").Body.String()
	for _, want := range []string{
		"# TYPE fleet_reports_total counter\n",
		"fleet_devices 1\n", "fleet_devices_online 1\n",
		`fleet_reports_total{result="accepted"} 1` + "\n",
		`fleet_reports_total{result="denied"} 1` + "\n",
		`fleet_operator_build_info{version="1.2.3-\"x\""} 1` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestSilentDevicesGoOfflineAndAreForgotten(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := testRegistry(func() time.Time { return now })
	if err := r.report("agent-1", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		silent time.Duration
		want   string
	}{
		{10 * time.Second, "[true]"},
		{11 * time.Second, "[false]"},
		{60 * time.Second, "[false]"},
		{61 * time.Second, "[]"},
	} {
		now = time.Unix(1_000_000, 0).Add(step.silent)
		online := []bool{}
		for _, d := range r.list() {
			online = append(online, d.Online)
		}
		if got := fmt.Sprint(online); got != step.want {
			t.Errorf("silent for %s: got %s, want %s", step.silent, got, step.want)
		}
	}
}

func TestRegistryConfigurationIsChecked(t *testing.T) {
	tests := []struct{ offline, forget, want string }{
		{"", "", ""},
		{"1s", "1s", ""},
		{"2s", "1s", "must not be shorter"},
		{"soon", "", "OFFLINE_AFTER"},
		{"", "later", "FORGET_AFTER"},
	}
	for _, test := range tests {
		vars := map[string]string{"OFFLINE_AFTER": test.offline, "FORGET_AFTER": test.forget}
		_, err := newRegistry(func(name string) string { return vars[name] })
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v: got error %v, want %q", vars, err, test.want)
		}
	}
}

func TestFullRegistryMakesRoom(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := testRegistry(func() time.Time { return now })
	for _, id := range []string{"a", "b"} {
		if err := r.report(id, ""); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(2 * time.Minute)
	if err := r.report("c", ""); err != nil {
		t.Errorf("two forgotten devices leave no room: %v", err)
	}
}

func report(s *server, id, authorization, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/devices/"+id+"/report", strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w
}

func get(s *server, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}
