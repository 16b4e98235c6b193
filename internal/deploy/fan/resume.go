package fan

import (
	"context"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ResumeSteps lets the Rollouts of an app go on, see [delivery.Call.Resume]. The
// target is one cluster.
func (d *fanned) ResumeSteps(ctx context.Context, app protocol.AppSpec, target string, full bool) ([]string, error) {
	if d.env.Topology.Targets[target].InCluster == nil {
		return nil, protocol.Unsupported("target %q is not one cluster: resume the rollout there with kubectl argo rollouts promote", target)
	}
	base := delivery.Base{Flags: d.flags, Env: d.env}
	c, err := base.Open(app, target)
	if err != nil {
		return nil, err
	}
	done, err := c.Resume(ctx, full)
	return done, c.Explain(err)
}
