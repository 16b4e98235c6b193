package fan

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Those clusters go back that the deploy has upgraded, each to what ran on it before,
// and one that fails keeps none of the others.
func TestTakesUpgradedClustersBack(t *testing.T) {
	f := newFleet()
	kubeconfig, names := kubeconfigOf(t, 6)
	for i, name := range names[:5] {
		f.runs[name] = "v" + string(rune('0'+i)) // c005 has none
	}
	multi := protocol.MultiCluster{Selector: "fleet", Namespace: "fleet", Waves: protocol.Waves(1, "100%"), Parallel: 2}
	deployed, each, err := f.deploy(t.Context(), t, kubeconfig, multi, "v4", nil)
	if err != nil || each.of(protocol.OutcomeUpgraded) != "c000 c001 c002 c003" {
		t.Fatalf("%v: %+v", err, each)
	}
	from := capability.Setback{Deployed: deployed}
	for _, name := range names {
		from.Clusters = append(from.Clusters, each[name])
	}
	back := func() (protocol.DeployResult, told, error) {
		t.Helper()
		open := f.adapters(kubeconfig)
		a, err := open(t.Context(), capability.Environment{
			Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"production": {MultiCluster: &multi}}},
			Provider: protocol.Provider{Adapter: "standin"}, Progress: f.observe,
		})
		if err != nil {
			t.Fatal(err)
		}
		results := told{}
		app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"}}
		result, err := a.(capability.Reverter).TakeBack(context.Background(), app, "production", from, func(r protocol.DeployResult) { results[r.Cluster] = r })
		return result, results, err
	}
	f.bad["c001"] = protocol.ExitFailed
	result, results, err := back()
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "c001: the pods of the old one crash") || result.Outcome != protocol.OutcomeFailed {
		t.Errorf("%+v, %v", result, err)
	}
	if got := results.of(protocol.OutcomeRolledBack); got != "c000 c002 c003" {
		t.Errorf("taken back: %s", got)
	}
	delete(f.bad, "c001")
	result, _, err = back()
	if err != nil || result.Outcome != protocol.OutcomeRolledBack || result.RunningVersion != "0.9.0" || result.Clusters.RolledBack != 4 {
		t.Errorf("%+v, %v", result, err)
	}
	var runs []string
	for _, name := range names {
		runs = append(runs, f.runs[name])
	}
	if want := []string{"v0", "v1", "v2", "v3", "v4", "v4"}; !slices.Equal(runs, want) {
		t.Errorf("runs %v, want %v", runs, want)
	}

	// A deploy that upgraded none is refused.
	from.Clusters = from.Clusters[4:]
	if _, _, err := back(); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("nothing upgraded: %v", err)
	}
}
