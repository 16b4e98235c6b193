package prune

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What devices follow, followed before or report of is in use.
func TestCollectDevices(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	topology := protocol.Topology{
		OCIRegistry: &protocol.Provider{Adapter: "oci", URL: host}, Targets: map[string]protocol.Target{"shops": {EdgeDevice: &protocol.EdgeDevice{Group: "shops"}}},
	}
	if asked := (&flags{}).targets(topology); len(asked) != 0 {
		t.Errorf("clusters of a topology with devices only: %v", asked)
	}
	if asked := (&flags{}).targets(protocol.Topology{}); len(asked) != 1 {
		t.Errorf("without targets the current context is asked: %v", asked)
	}
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	for tag, image := range map[string]string{"latest": digest("1"), "previous": digest("2"), "1.0.0": digest("3"), "0.9.0": digest("4")} {
		state := mutate.Annotations(empty.Image, map[string]string{"harmony.nationtech.io/image": image}).(v1.Image)
		devicestest.Push(t, host+"/edge/groups/shops/app:"+tag, state)
		if tag != "1.0.0" {
			continue
		}
		reported, err := state.Digest()
		if err != nil {
			t.Fatal(err)
		}
		devicestest.Report(t, host+"/edge-reports/groups/shops/app:shop-1", "ready", reported.String(), "")
	}
	used := NewUses()
	if err := used.CollectDevices(t.Context(), topology, []protocol.AppSpec{{Metadata: protocol.Metadata{Name: "app"}}}); err != nil {
		t.Fatal(err)
	}
	for c, want := range map[string]bool{"1": true, "2": true, "3": true, "4": false} {
		if who := used.by(Entry{Repository: host + "/app", Tag: "0.1.0-dev.1", Digest: digest(c)}); strings.HasPrefix(who, "group shops") != want {
			t.Errorf("image %s is used by %q", c, who)
		}
	}
	server.Close()
	if err := NewUses().CollectDevices(t.Context(), topology, []protocol.AppSpec{{Metadata: protocol.Metadata{Name: "app"}}}); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("the registry is away: %v", err)
	}
}
