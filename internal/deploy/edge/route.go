package edge

import (
	"context"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Wrap makes adapters that deliver to edgeDevice targets by this package, and to
// all others as before.
func Wrap(adapters map[string]capability.Adapter[capability.ContinuousDelivery]) map[string]capability.Adapter[capability.ContinuousDelivery] {
	wrapped := map[string]capability.Adapter[capability.ContinuousDelivery]{}
	for name, open := range adapters {
		wrapped[name] = func(ctx context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
			clusters, err := open(ctx, env)
			if err != nil || !hasDevices(env.Topology) {
				return clusters, err
			}
			return router{clusters, &adapter{env}}, nil
		}
	}
	return wrapped
}

func hasDevices(t protocol.Topology) bool {
	for _, target := range t.Targets {
		if target.EdgeDevice != nil {
			return true
		}
	}
	return false
}

// router chooses by the target.
type router struct {
	clusters capability.ContinuousDelivery
	edge     *adapter
}

func (r router) isEdge(target string) bool {
	return r.edge.env.Topology.Targets[target].EdgeDevice != nil
}

// Deploy implements [capability.ContinuousDelivery].
func (r router) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	if r.isEdge(target) {
		return r.edge.Deploy(ctx, app, target, image, chart)
	}
	return r.clusters.Deploy(ctx, app, target, image, chart)
}

// DeployEach implements [capability.ClusterDelivery], for an adapter that does.
func (r router) DeployEach(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef,
	each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	if d, ok := r.clusters.(capability.ClusterDelivery); ok && !r.isEdge(target) {
		return d.DeployEach(ctx, app, target, image, chart, each)
	}
	return r.Deploy(ctx, app, target, image, chart)
}

// Rollback is that of the adapter, where it has one.
func (r router) Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	type rollbacker interface {
		Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error)
	}
	if r.isEdge(target) {
		return r.edge.Rollback(ctx, app, target, to)
	}
	if d, ok := r.clusters.(rollbacker); ok {
		return d.Rollback(ctx, app, target, to)
	}
	return protocol.DeployResult{}, r.cannot("has no rollback of its own").WithHint("release the earlier version again: harmony release %s --version …", app.Name)
}

// Status is that of the adapter, where it has one.
func (r router) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	type reporter interface {
		Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error)
	}
	if r.isEdge(target) {
		return r.edge.Status(ctx, app, target)
	}
	if d, ok := r.clusters.(reporter); ok {
		return d.Status(ctx, app, target)
	}
	return nil, r.cannot("tells no status")
}

// Diff is that of the adapter, where it has one.
func (r router) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	type differ interface {
		Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error)
	}
	if r.isEdge(target) {
		return r.edge.Diff(ctx, app, target, image, chart)
	}
	if d, ok := r.clusters.(differ); ok {
		return d.Diff(ctx, app, target, image, chart)
	}
	return nil, r.cannot("cannot tell what would change").WithHint("its controller can: argocd app diff, flux diff")
}

func (r router) cannot(what string) *protocol.Error {
	return protocol.Unsupported("adapter %q %s", r.edge.env.Provider.Adapter, what)
}
