package fan

import (
	"strings"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// givenBack gives the app of two clusters back, and takes it over again.
func (f *realFleet) givenBack(multi protocol.MultiCluster) {
	for _, want := range []protocol.ClusterCount{{Total: 2, GivenBack: 2}, {Total: 2, Absent: 2}} {
		result, err := f.open(helm.Name, multi).(delivery.Adapter).GiveBack(f.T.Context(), f.Spec(), deploytest.Target)
		if err != nil || *result.Clusters != want {
			f.T.Fatalf("given back: %+v, %v, want %+v", result.Clusters, err, want)
		}
	}
	_, each, err := f.deploy(helm.Name, multi)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), "--adopt") || each.of(protocol.OutcomeSkipped) != "us" {
		f.T.Errorf("deployed after it was given back: %+v, %v", each, err)
	}
	f.Adopt = capability.AdoptSameChart
	for name, result := range f.good(helm.Name, multi, protocol.ClusterCount{Total: 2, Upgraded: 2}) {
		if result.Adopted != "helm" {
			f.T.Errorf("%s: adopted from %q", name, result.Adopted)
		}
	}
}
