package fan

import (
	"context"
	"fmt"
	"slices"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TakeBack implements [capability.Reverter]. Of several clusters those go back that the
// deploy has upgraded, all of them: none waits for a wave, or for one that fails. What
// the deploy installed for the first time stays.
func (d *fanned) TakeBack(ctx context.Context, app protocol.AppSpec, target string, from capability.Setback, each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	if a := d.single(target); a != nil {
		return a.TakeBack(ctx, app, target, from, each)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		return w.TakeAllBack(ctx, app, target, clusters, from, each)
	}
	upgraded := slices.DeleteFunc(slices.Clone(clusters), func(c conn.Cluster) bool {
		deployed := from.On(c.Name)
		return deployed.Cluster == "" || deployed.Outcome != protocol.OutcomeUpgraded
	})
	if len(upgraded) == 0 {
		return protocol.DeployResult{}, protocol.Unsupported("the deploy upgraded no cluster of target %q", target)
	}
	r := d.rollout(app, target, upgraded, each)
	r.what = fmt.Sprintf("take %s back on %s", target, app.Name)
	r.multi.Waves, r.multi.MaxFailures = protocol.Waves("100%"), "100%"
	version := ""
	r.act = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
		result, err := a.TakeBack(ctx, app, target, from, func(protocol.DeployResult) {})
		if err == nil {
			r.mu.Lock()
			version = result.RunningVersion
			r.mu.Unlock()
		}
		return result, err
	}
	result, err := d.instead(ctx, r, clusters)
	result.RunningVersion = version
	return result, err
}
