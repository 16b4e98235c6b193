package smoke

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestDevices(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer outside.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	state, err := random.Image(16, 1)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := state.Digest()
	if err != nil {
		t.Fatal(err)
	}
	digest := hash.String()
	edge := &protocol.EdgeDevice{Group: "shops", Namespace: "fleet"}
	checks := []protocol.SmokeCheck{
		{Name: "ready", Rollout: &protocol.RolloutCheck{}, Timeout: 50 * quick / 10, Interval: quick},
		{Name: "service", HTTP: &protocol.HTTPCheck{Service: "app", Port: 80, Path: "/"}},
		needing(get("outside", outside.URL), "ready", "service"),
	}
	look := func() (protocol.SmokeReport, error) {
		t.Helper()
		c := newChecker(t, capability.Environment{Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "test"}, OCIRegistry: &protocol.Provider{URL: host + "/fleet"},
			Targets: map[string]protocol.Target{"edge": {EdgeDevice: edge}},
		}})
		return c.Check(t.Context(), appWith(checks...), "edge")
	}
	statuses := func(r protocol.SmokeReport) string {
		var all []string
		for _, check := range r.Checks {
			all = append(all, string(check.Status))
		}
		return strings.Join(all, " ")
	}
	reports := host + "/fleet/edge-reports/groups/shops/fleet-operator:"

	fails := func(word string) {
		t.Helper()
		r, err := look()
		if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), word) || r.Passed || statuses(r) != "failed skipped skipped" {
			t.Errorf("%v, %s, want %q", err, statuses(r), word)
		}
	}
	fails("nothing is published for group shops")
	devicestest.Push(t, host+"/fleet/edge/groups/shops/fleet-operator:latest", state)
	fails("no device of group shops has reported to " + host + "/fleet/edge-reports/groups/shops/fleet-operator")
	devicestest.Report(t, reports+"shop-1", "ready", digest, "")
	devicestest.Report(t, reports+"shop-2", "failed", digest, "no space")
	fails("1 of 2 devices are ready, 1 failed; shop-2: failed, no space")
	devicestest.Report(t, reports+"shop-2", "ready", digest, "")
	r, err := look()
	if err != nil || !r.Passed || statuses(r) != "passed skipped passed" || !strings.Contains(r.Checks[0].Message, "2 of 2") || !strings.Contains(r.Checks[1].Message, "cannot be reached") {
		t.Errorf("all are ready: %+v, %v", r, err)
	}
	tombstone := mutate.Annotations(state, map[string]string{marks.Removed: "true"}).(v1.Image)
	devicestest.Push(t, host+"/fleet/edge/groups/shops/fleet-operator:latest", tombstone)
	fails("the app was uninstalled from group shops")
	edge.Reports = &protocol.DeviceReports{Disabled: true}
	if r, err = look(); err != nil || statuses(r) != "skipped skipped passed" {
		t.Errorf("they do not report: %+v, %v", r, err)
	}
	server.Close()
	edge.Reports = nil
	if _, err := look(); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("the registry is away: %v", err)
	}
}

// With rings, those that are open count.
func TestRingsOfDevices(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	state, err := random.Image(16, 1)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := state.Digest()
	if err != nil {
		t.Fatal(err)
	}
	edge := &protocol.EdgeDevice{
		Group: "shops", Namespace: "fleet", Rings: []protocol.DeviceRing{{Labels: map[string]string{"tier": "canary"}}, {Share: 100}},
		AdvanceWhen: &protocol.AdvanceWhen{MaxFailed: 1, Healthy: "50%"}, Reports: &protocol.DeviceReports{OfflineAfter: protocol.Duration(1000000 * time.Hour)},
	}
	look := func() string {
		t.Helper()
		c := newChecker(t, capability.Environment{Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "test"}, OCIRegistry: &protocol.Provider{URL: host + "/fleet"},
			Targets: map[string]protocol.Target{"edge": {EdgeDevice: edge}},
		}})
		r, err := c.Check(t.Context(), appWith(protocol.SmokeCheck{Name: "ready", Rollout: &protocol.RolloutCheck{}, Timeout: 50 * quick / 10, Interval: quick}), "edge")
		if err != nil {
			return err.Error()
		}
		return r.Checks[0].Message
	}
	says := func(words string) {
		t.Helper()
		if got := look(); !strings.Contains(got, words) {
			t.Errorf("%s, want %q", got, words)
		}
	}
	says("nothing is published for group shops")
	state2, err := random.Image(16, 1)
	if err != nil {
		t.Fatal(err)
	}
	devicestest.Push(t, host+"/fleet/edge/groups/shops/fleet-operator:latest", state2)
	devicestest.Push(t, host+"/fleet/edge/groups/shops/fleet-operator:ring-1", state)
	reports := host + "/fleet/edge-reports/groups/shops/fleet-operator:"
	for i, said := range []string{"progressing", "failed", "ready"} {
		devicestest.Report(t, reports+"shop-"+string(rune('1'+i)), said, "ring-1@"+hash.String(), "")
		if i == 1 {
			says("ring-1 waits: 0 of 2 devices are ready, 1 progressing, 1 failed; 1 must be ready")
		}
	}
	says("ring-1 waits: 1 of 3 devices are ready, 1 progressing, 1 failed; 2 must be ready")
	devicestest.Report(t, reports+"shop-1", "ready", "ring-1@"+hash.String(), "")
	devicestest.Report(t, reports+"shop-9", "ready", "latest@sha256:"+strings.Repeat("1", 64), "")
	says("1 of 2 rings are open; 2 of 4 devices are ready, 1 failed, 1 behind")
	devicestest.Report(t, reports+"shop-1", "failed", "ring-1@"+hash.String(), "")
	says("ring-1: 1 of 3 devices are ready, 2 failed")
}
