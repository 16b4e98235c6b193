package fan

import (
	"context"
	"testing"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// pauser is an adapter whose rollout on the cluster b is paused.
type pauser struct {
	delivery.Unsupported
	cluster string
}

func (p pauser) Deploy(_ context.Context, app protocol.AppSpec, target string, _ protocol.ImageRef, _ protocol.ChartRef) (protocol.DeployResult, error) {
	result := protocol.DeployResult{Metadata: app.Metadata, Target: target, Adapter: "pauser", Outcome: protocol.OutcomeUpgraded, Image: "sha256:new"}
	if p.cluster == "b" {
		result.Outcome, result.Message = protocol.OutcomePaused, "rollout/app is paused"
	}
	return result, nil
}

// A cluster whose own controller has paused the rollout ends it after its wave, and that
// is no failure.
func TestPausedCluster(t *testing.T) {
	env := capability.Environment{Progress: func(protocol.Event) {}}
	env.Topology.Targets = map[string]protocol.Target{"production": {MultiCluster: &protocol.MultiCluster{Selector: "fleet", Parallel: 1}}}
	d := &fanned{flags: &conn.Flags{}, env: env, make: func(*conn.Flags) capability.Adapter[delivery.Adapter] {
		return func(_ context.Context, env capability.Environment) (delivery.Adapter, error) {
			return pauser{cluster: env.Cluster}, nil
		}
	}}
	var clusters []conn.Cluster
	for name := range 12 { // waves of 1, 1 and 10
		clusters = append(clusters, conn.Cluster{Name: string(rune('a' + name))})
	}
	each := map[string]protocol.Outcome{}
	r := d.rollout(protocol.AppSpec{}, "production", clusters, func(result protocol.DeployResult) { each[result.Cluster] = result.Outcome })
	r.act = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
		return a.Deploy(ctx, protocol.AppSpec{}, "production", protocol.ImageRef{}, protocol.ChartRef{})
	}
	result, err := r.run(t.Context())
	if err != nil || result.Outcome != protocol.OutcomePaused || result.Message != "b: rollout/app is paused" || result.Clusters.Paused != 1 || result.Clusters.Skipped != 10 {
		t.Errorf("%+v, %+v, %v", result, result.Clusters, err)
	}
	if each["a"] != protocol.OutcomeUpgraded || each["b"] != protocol.OutcomePaused || each["c"] != protocol.OutcomeSkipped {
		t.Errorf("clusters %v", each)
	}
}
