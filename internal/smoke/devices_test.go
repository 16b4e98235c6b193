package smoke

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
