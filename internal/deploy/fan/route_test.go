package fan

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The target's kind chooses the adapter, whatever is asked of it.
func TestTheTargetChoosesTheAdapter(t *testing.T) {
	of := func(name string) delivery.Constructor { return (&named{delivery.Unsupported(name)}).constructor }
	open := Adapters(&Flags{}, map[string]delivery.Constructor{"helm": of("cluster")}, of("devices"), nil)["helm"]
	opened, err := open(t.Context(), capability.Environment{Progress: func(protocol.Event) {}, Topology: protocol.Topology{Targets: map[string]protocol.Target{
		"cloud": {InCluster: &protocol.InCluster{}}, "kiosk": {EdgeDevice: &protocol.EdgeDevice{}}, "shops": {MultiCluster: &protocol.MultiCluster{}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	d := opened.(delivery.Adapter)
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}}
	for target, want := range map[string]string{"cloud": "cluster", "kiosk": "devices", "unknown": "cluster"} {
		result, err := d.Deploy(t.Context(), app, target, protocol.ImageRef{}, protocol.ChartRef{})
		if err != nil || result.Adapter != want {
			t.Errorf("deploy to %s: by %q, %v", target, result.Adapter, err)
		}
		if result, err = opened.(capability.ClusterDelivery).DeployEach(t.Context(), app, target, protocol.ImageRef{}, protocol.ChartRef{}, nil); err != nil || result.Adapter != want {
			t.Errorf("deploy each of %s: by %q, %v", target, result.Adapter, err)
		}
		_, rollback := d.Rollback(t.Context(), app, target, "")
		_, status := d.Status(t.Context(), app, target)
		_, diff := d.Diff(t.Context(), app, target, protocol.ImageRef{}, protocol.ChartRef{})
		for what, err := range map[string]error{"rollback": rollback, "status": status, "diff": diff} {
			if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), `"`+want+`" does not support `+what) {
				t.Errorf("%s on %s: %v", what, target, err)
			}
		}
	}
	// Only many clusters have a rollout in waves.
	for target, want := range map[string]string{"cloud": "is not multiCluster", "kiosk": "is of devices"} {
		_, err := opened.(*fanned).Rollout(t.Context(), app, target, nil)
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), want) || (protocol.HintOf(err) != "") != (target == "kiosk") {
			t.Errorf("rollout on %s: %v, hint %q", target, err, protocol.HintOf(err))
		}
	}
}
