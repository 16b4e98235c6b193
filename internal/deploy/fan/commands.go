package fan

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Rollout is the record of the app's rollout on a target of several clusters, and nil when
// there is none. change, if it is not nil, changes it first.
func (d *fanned) Rollout(ctx context.Context, app protocol.AppSpec, target string, change func(r *waves.Record, now time.Time) error) (*waves.Record, error) {
	clusters, err := d.fleet(ctx, target)
	if err != nil {
		return nil, err
	}
	h, err := d.homeOf(ctx, target, clusters)
	if err != nil {
		return nil, err
	}
	c := &course{home: h, store: h.store(app.Name, target), retry: func(ctx context.Context, call func() error) error {
		return delivery.Retry(ctx, h.conn, homeAway, delivery.Progress(d.env, app), call)
	}}
	if change == nil {
		record, err := delivery.Retried(ctx, c.retry, c.store.Read)
		return record, h.conn.Explain(err)
	}
	err = c.change(ctx, func(r *waves.Record, now time.Time) (*waves.Record, error) {
		if r == nil {
			return nil, protocol.Unsupported("there is no rollout of %s on %s", app.Name, target)
		}
		return r, change(r, now)
	})
	return c.record, h.conn.Explain(err)
}

// fleet are the clusters of a target whose rollout has a record.
func (d *fanned) fleet(ctx context.Context, target string) ([]conn.Cluster, error) {
	if d.env.Topology.Targets[target].EdgeDevice != nil {
		return nil, protocol.Unsupported("target %q is of devices: it has no rollout in waves", target).
			WithHint("harmony status shows the rings; harmony rollback takes all of them back to the state before")
	}
	if d.single(target) != nil {
		return nil, protocol.Unsupported("target %q is not multiCluster: it has no rollout in waves", target)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return nil, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		return nil, protocol.Unsupported("the %d clusters of target %q are delivered to by an ApplicationSet, which goes from wave to wave by itself", len(clusters), target)
	}
	return clusters, nil
}

// TakeRolloutBack rolls back the clusters that an aborted rollout has upgraded, all of
// them.
func (d *fanned) TakeRolloutBack(ctx context.Context, app protocol.AppSpec, target string, each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	clusters, err := d.fleet(ctx, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	return d.alone(ctx, app, target, clusters, false, func(ctx context.Context, c *course) (protocol.DeployResult, error) {
		var record *waves.Record
		if c != nil {
			if record, err = delivery.Retried(ctx, c.retry, c.store.Read); err != nil {
				return protocol.DeployResult{}, c.conn.Explain(err)
			}
		}
		if record == nil || record.State != waves.Aborted {
			return protocol.DeployResult{}, protocol.Unsupported("no rollout of %s on %s was aborted", app.Name, target)
		}
		upgraded := slices.DeleteFunc(slices.Clone(clusters), func(one conn.Cluster) bool { return !record.Has(one.Name) })
		app.Version = record.Version
		r := d.rollout(app, target, upgraded, each)
		r.what = fmt.Sprintf("take %s back on %s", app.Name, target)
		r.multi.Waves, r.multi.MaxFailures = protocol.Waves("100%"), "100%"
		r.act = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
			return a.Rollback(ctx, app, target, "")
		}
		result, failure := r.run(ctx)
		err := c.update(context.WithoutCancel(ctx), func(now *waves.Record, _ time.Time) { r.tally(now) })
		if failure == nil {
			failure = err
		}
		return result, failure
	})
}
