// Package fan is the one layer above the adapters, of which it knows none. It
// chooses the adapter by the kind of the target, and delivers to the clusters of
// a multiCluster target wave by wave: each cluster gets an adapter of its own,
// with the way to that cluster alone, that sees an inCluster target.
//
// A run goes through the waves from the first on, and a cluster that is done answers
// unchanged: what was interrupted or stopped continues when it is run again. What
// happened between the waves is remembered on the first of the clusters.
package fan

import (
	"cmp"
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Checks makes what runs checks, by the way to a cluster or to all of a target.
type Checks func(*conn.Flags) capability.Adapter[capability.Checker]

// Adapters are those of the table, by the same names, that also deliver to
// targets of several clusters and, by devices, to edgeDevice targets.
func Adapters(flags *Flags, table map[string]delivery.Constructor, devices delivery.Constructor, checks Checks) map[string]capability.Adapter[capability.ContinuousDelivery] {
	return adapters(flags, table, devices, checks, (*fanned).connectHome)
}

func adapters(flags *Flags, table map[string]delivery.Constructor, devices delivery.Constructor, checks Checks,
	home func(*fanned, conn.Cluster, string) (*home, error)) map[string]capability.Adapter[capability.ContinuousDelivery] {
	all := map[string]capability.Adapter[capability.ContinuousDelivery]{}
	for name, make := range table {
		all[name] = func(ctx context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
			env = flags.over(env)
			adopt, err := flags.adoption()
			if err != nil {
				return nil, err
			}
			env.Adopt = cmp.Or(adopt, env.Adopt)
			one, err := make(&flags.Flags)(ctx, env)
			if err != nil {
				return nil, err
			}
			edge, err := devices(&flags.Flags)(ctx, env)
			return &fanned{flags: &flags.Flags, follows: flags.follow, make: make, env: env, one: one, edge: edge, checks: checks, home: home}, err
		}
	}
	return all
}

// fanned is an adapter over all kinds of targets. It is safe for use by several
// goroutines.
type fanned struct {
	flags *conn.Flags
	make  delivery.Constructor
	env   capability.Environment
	// one is the adapter for targets of one cluster, and edge for devices.
	one, edge delivery.Adapter
	checks    Checks
	home      func(*fanned, conn.Cluster, string) (*home, error)
	// follows has a deploy stay while its rollout waits or is paused.
	follows bool
}

// single is the adapter for a target that is not of several clusters; else nil.
func (d *fanned) single(target string) delivery.Adapter {
	switch t := d.env.Topology.Targets[target]; {
	case t.EdgeDevice != nil:
		return d.edge
	case t.MultiCluster == nil:
		return d.one
	}
	return nil
}

// whole is an adapter whose own controller can do the fan-out.
type whole interface {
	// TakesAll reports that it does so for this many clusters.
	TakesAll(clusters int) bool
	// DeployAll is capability.ClusterDelivery's DeployEach over the clusters.
	DeployAll(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster, image protocol.ImageRef, chart protocol.ChartRef,
		each func(protocol.DeployResult)) (protocol.DeployResult, error)
	// TakeAllBack is TakeBack over the clusters.
	TakeAllBack(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster, from capability.Setback,
		each func(protocol.DeployResult)) (protocol.DeployResult, error)
	// RollbackAll is Rollback over the clusters.
	RollbackAll(ctx context.Context, app protocol.AppSpec, target, to string, clusters []conn.Cluster) (protocol.DeployResult, error)
	// RemoveAll has the controller let go of the clusters, and calls each, which removes
	// the app from one after the other by what the function makes of their adapters.
	RemoveAll(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster,
		each func(context.Context, func(delivery.Adapter) delivery.Adapter) (protocol.DeployResult, error)) (protocol.DeployResult, error)
}

// Deploy implements [capability.ContinuousDelivery].
func (d *fanned) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	return d.DeployEach(ctx, app, target, image, chart, func(protocol.DeployResult) {})
}

// DeployEach implements [capability.ClusterDelivery].
func (d *fanned) DeployEach(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef,
	each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	if err := d.adopts(target, 0); err != nil {
		return protocol.DeployResult{}, err
	}
	if a := d.single(target); a != nil {
		if err := d.renew(ctx, app, target); err != nil {
			return protocol.DeployResult{}, err
		}
		return a.Deploy(ctx, app, target, image, chart)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		if err := errors.Join(d.adopts(target, len(clusters)), d.ungated(target)); err != nil {
			return protocol.DeployResult{}, err
		}
		return w.DeployAll(ctx, app, target, clusters, image, chart, each)
	}
	r := d.rollout(app, target, clusters, each)
	r.act = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
		return a.Deploy(ctx, app, target, image, chart)
	}
	if d.rollsBack() {
		r.undo = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
			return a.Rollback(ctx, app, target, "")
		}
	}
	steps := r.multi.Steps(len(clusters))
	if err := d.checked(ctx, app, target, clusters[0], steps); err != nil {
		return protocol.DeployResult{}, err
	}
	return d.alone(ctx, app, target, clusters, true, func(ctx context.Context, c *course) (protocol.DeployResult, error) {
		if c != nil && !d.limited() {
			fresh := waves.Record{Version: app.Version, Image: image.Digest, Chart: chart.Digest, Waves: len(steps)}
			if err := d.begin(ctx, c, app, target, clusters, fresh); err != nil {
				return protocol.DeployResult{}, err
			}
			r.between = &between{course: c, rollout: r, follows: d.follows, stays: d.env.Topology.Targets[target].OnSmokeFailure == protocol.SmokeHalt}
		}
		return r.run(ctx)
	})
}

// adopts fails for a target on which nothing can be taken over, if that is asked for:
// devices, and clusters that an ApplicationSet delivers to.
func (d *fanned) adopts(target string, bySet int) error {
	switch {
	case d.env.Adopt == capability.AdoptNothing:
		return nil
	case d.env.Topology.Targets[target].EdgeDevice != nil:
		return protocol.Unsupported("target %q is of edge devices: there is nothing that --adopt could take over", target)
	case bySet > 0:
		return protocol.Unsupported("the %d clusters of target %q are delivered to by an ApplicationSet, which takes over nothing", bySet, target).
			WithHint("set the adapter's setting applicationSet to false, to take over the Application of each cluster")
	}
	return nil
}

// ungated fails for a target that asks for something between its waves, where an
// ApplicationSet delivers to its clusters.
func (d *fanned) ungated(target string) error {
	if !d.env.Topology.Targets[target].MultiCluster.Gated() {
		return nil
	}
	return protocol.Unsupported("target %q asks for checks, waits or pauses between its waves, and an ApplicationSet, which delivers to its clusters, goes from wave to wave by itself", target).
		WithHint("set the adapter's setting applicationSet to false")
}

// rollsBack reports whether the topology wants to go back after a failure. The
// adapters have the same setting with the same default.
func (d *fanned) rollsBack() bool {
	set, ok := d.env.Provider.Settings["rollback"].(bool)
	return set || !ok
}

// Rollback brings the app back on every cluster of the target, in the same
// waves. It stops after as many failures as a deploy does.
func (d *fanned) Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	if a := d.single(target); a != nil {
		return a.Rollback(ctx, app, target, to)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		return w.RollbackAll(ctx, app, target, to, clusters)
	}
	r := d.rollout(app, target, clusters, func(protocol.DeployResult) {})
	r.act = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
		return a.Rollback(ctx, app, target, to)
	}
	return d.instead(ctx, r, clusters)
}

// Remove takes the app off every cluster of the target, in the same waves. It
// stops after as many failures as a deploy does.
func (d *fanned) Remove(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	if a := d.single(target); a != nil {
		p, err := d.previewOf(app, target)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		if p != nil {
			return d.removePreview(ctx, p, app, target)
		}
		return removed(ctx, a, app, target)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		return w.RemoveAll(ctx, app, target, clusters, func(ctx context.Context, of func(delivery.Adapter) delivery.Adapter) (protocol.DeployResult, error) {
			return d.removeEach(ctx, app, target, clusters, of)
		})
	}
	return d.removeEach(ctx, app, target, clusters, func(a delivery.Adapter) delivery.Adapter { return a })
}

// removeEach takes the app off the clusters by what the function makes of their adapters.
func (d *fanned) removeEach(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster,
	of func(delivery.Adapter) delivery.Adapter) (protocol.DeployResult, error) {
	r := d.rollout(app, target, clusters, func(protocol.DeployResult) {})
	r.what = "uninstall " + app.Name + " from " + target
	r.act = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
		return removed(ctx, of(a), app, target)
	}
	return d.instead(ctx, r, clusters)
}

// GiveBack gives the app back on every cluster of the target, in the same waves.
func (d *fanned) GiveBack(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	if a := d.single(target); a != nil {
		return a.GiveBack(ctx, app, target)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		return protocol.DeployResult{}, protocol.Unsupported("the %d clusters of target %q are delivered to by an ApplicationSet, which is not given back", len(clusters), target)
	}
	r := d.rollout(app, target, clusters, func(protocol.DeployResult) {})
	r.what = "give " + app.Name + " on " + target + " back"
	r.act = func(ctx context.Context, a delivery.Adapter) (protocol.DeployResult, error) {
		return a.GiveBack(ctx, app, target)
	}
	return d.instead(ctx, r, clusters)
}

// Status shows what runs on every cluster of the target, in the target's order. A
// cluster that cannot be read has an entry that says why; the error next to the
// entries is that of the first of them, with the worst status of all.
func (d *fanned) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	if a := d.single(target); a != nil {
		return a.Status(ctx, app, target)
	}
	found, errs, err := each(ctx, d, target, func(ctx context.Context, a delivery.Adapter) ([]status.Entry, error) {
		return a.Status(ctx, app, target)
	})
	if err != nil {
		return nil, err
	}
	var entries []status.Entry
	for i, c := range found {
		if errs[i] != nil {
			c.value = []status.Entry{{App: app.Name, Target: target, Context: c.name, State: status.Unknown, Message: errs[i].Error()}}
		}
		entries = append(entries, c.value...)
	}
	status.Sort(entries)
	return entries, delivery.Worst(errs)
}

// Diff shows what a deploy would change on every cluster of the target.
func (d *fanned) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	if a := d.single(target); a != nil {
		return a.Diff(ctx, app, target, image, chart)
	}
	found, errs, err := each(ctx, d, target, func(ctx context.Context, a delivery.Adapter) ([]difference.Object, error) {
		return a.Diff(ctx, app, target, image, chart)
	})
	var all []difference.Object
	for _, c := range found {
		for _, object := range c.value {
			object.Cluster = c.name
			all = append(all, object)
		}
	}
	return all, cmp.Or(err, delivery.Worst(errs))
}

type read[T any] struct {
	name  string
	value T
}

// each reads every cluster of the target, some at once.
func each[T any](ctx context.Context, d *fanned, target string, look func(context.Context, delivery.Adapter) (T, error)) ([]read[T], []error, error) {
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return nil, nil, err
	}
	found, errs := eachOf(ctx, d, target, clusters, look)
	return found, errs, ctx.Err()
}

func eachOf[T any](ctx context.Context, d *fanned, target string, clusters []conn.Cluster, look func(context.Context, delivery.Adapter) (T, error)) ([]read[T], []error) {
	found, errs := make([]read[T], len(clusters)), make([]error, len(clusters))
	var group errgroup.Group
	group.SetLimit(protocol.MultiCluster{}.AtOnce())
	for i, cluster := range clusters {
		group.Go(func() error {
			found[i].name = cluster.Name
			a, err := d.open(ctx, cluster, target, d.env.Progress)
			if err == nil {
				found[i].value, err = look(ctx, a)
			}
			errs[i] = err
			return nil
		})
	}
	_ = group.Wait() // what failed is told cluster by cluster
	return found, errs
}

func (d *fanned) open(ctx context.Context, cluster conn.Cluster, target string, progress func(protocol.Event)) (delivery.Adapter, error) {
	flags, err := cluster.Flags()
	if err != nil {
		return nil, err
	}
	env := d.env
	env.Topology, env.Cluster, env.Progress = cluster.Topology(d.env.Topology, target), cluster.Name, progress
	return d.make(flags)(ctx, env)
}
