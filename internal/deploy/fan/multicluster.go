// Package fan delivers an app to the clusters of a multiCluster target,
// wave by wave. It is a layer above the adapters and knows none of them: each
// cluster gets an adapter of its own, with the way to that cluster alone, that
// sees an inCluster target.
//
// Nothing is remembered between runs. A run goes through the waves from the
// first on, and a cluster that is done answers unchanged: what was interrupted
// or stopped goes on when it is run again.
package fan

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Constructor is New of an adapter.
type Constructor func(*conn.Flags) capability.Adapter[capability.ContinuousDelivery]

// Adapters are those of the table, by the same names, that also deliver to
// targets of several clusters.
func Adapters(flags *conn.Flags, table map[string]Constructor) map[string]capability.Adapter[capability.ContinuousDelivery] {
	all := map[string]capability.Adapter[capability.ContinuousDelivery]{}
	for name, make := range table {
		all[name] = adapter(flags, make)
	}
	return all
}

func adapter(flags *conn.Flags, make Constructor) capability.Adapter[capability.ContinuousDelivery] {
	return func(ctx context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
		one, err := make(flags)(ctx, env)
		if err != nil || !several(env.Topology) {
			return one, err
		}
		return &delivery{flags: flags, make: make, env: env, one: one}, nil
	}
}

// several reports a topology that has a target of several clusters.
func several(t protocol.Topology) bool {
	for _, target := range t.Targets {
		if target.MultiCluster != nil {
			return true
		}
	}
	return false
}

// delivery is an adapter over the clusters of a target. It is safe for use by
// several goroutines.
type delivery struct {
	flags *conn.Flags
	make  Constructor
	env   capability.Environment
	// one is the adapter for targets of one cluster.
	one capability.ContinuousDelivery
}

// whole is an adapter that can have its own controller do the fan-out.
type whole interface {
	// TakesAll reports that it does so for this many clusters.
	TakesAll(clusters int) bool
	// DeployAll is capability.ClusterDelivery's DeployEach over the clusters.
	DeployAll(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster, image protocol.ImageRef, chart protocol.ChartRef,
		each func(protocol.DeployResult)) (protocol.DeployResult, error)
	// RollbackAll is Rollback over the clusters.
	RollbackAll(ctx context.Context, app protocol.AppSpec, target, to string, clusters []conn.Cluster) (protocol.DeployResult, error)
}

// Deploy implements [capability.ContinuousDelivery].
func (d *delivery) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	return d.DeployEach(ctx, app, target, image, chart, func(protocol.DeployResult) {})
}

// DeployEach implements [capability.ClusterDelivery].
func (d *delivery) DeployEach(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef,
	each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	multi := d.env.Topology.Targets[target].MultiCluster
	if multi == nil {
		return d.one.Deploy(ctx, app, target, image, chart)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		return w.DeployAll(ctx, app, target, clusters, image, chart, each)
	}
	r := d.rollout(app, target, clusters, each)
	r.act = func(ctx context.Context, a capability.ContinuousDelivery) (protocol.DeployResult, error) {
		return a.Deploy(ctx, app, target, image, chart)
	}
	if d.rollsBack() {
		r.undo = func(ctx context.Context, a capability.ContinuousDelivery) (protocol.DeployResult, error) {
			return rollBack(ctx, a, app, target, "")
		}
	}
	return r.run(ctx)
}

// rollsBack reports whether the topology wants to go back after a failure. The
// adapters have the same setting with the same default.
func (d *delivery) rollsBack() bool {
	set, ok := d.env.Provider.Settings["rollback"].(bool)
	return set || !ok && d.env.Topology.Name != "local"
}

// rollbacker is an adapter that can bring an app back to an earlier release.
type rollbacker interface {
	Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error)
}

func rollBack(ctx context.Context, a capability.ContinuousDelivery, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	r, ok := a.(rollbacker)
	if !ok {
		return protocol.DeployResult{}, protocol.Unsupported("the adapter has no rollback of its own").
			WithHint("release the earlier version again: harmony release %s --version …", app.Name)
	}
	return r.Rollback(ctx, app, target, to)
}

// Rollback brings the app back on every cluster of the target, in the same
// waves. It stops after as many failures as a deploy does.
func (d *delivery) Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	if d.env.Topology.Targets[target].MultiCluster == nil {
		return rollBack(ctx, d.one, app, target, to)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if w, ok := d.one.(whole); ok && w.TakesAll(len(clusters)) {
		return w.RollbackAll(ctx, app, target, to, clusters)
	}
	r := d.rollout(app, target, clusters, func(protocol.DeployResult) {})
	r.act = func(ctx context.Context, a capability.ContinuousDelivery) (protocol.DeployResult, error) {
		return rollBack(ctx, a, app, target, to)
	}
	return r.run(ctx)
}

// reporter and differ are adapters that tell what runs, and what a deploy would
// change.
type (
	reporter interface {
		Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error)
	}
	differ interface {
		Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error)
	}
)

// Status tells what runs on every cluster of the target. A cluster that cannot
// be read has an entry that says why, and the error of the first of them is
// returned beside the entries.
func (d *delivery) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	var mu sync.Mutex
	var entries []status.Entry
	var first error
	err := d.read(ctx, target, func(ctx context.Context, cluster conn.Cluster, a capability.ContinuousDelivery, err error) error {
		var found []status.Entry
		if err == nil {
			r, ok := a.(reporter)
			if !ok {
				return protocol.Unsupported("the adapter tells no status")
			}
			found, err = r.Status(ctx, app, target)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			found = []status.Entry{{App: app.Name, Target: target, Context: cluster.Name, State: status.Unknown, Message: err.Error()}}
			if first == nil {
				first = err
			}
		}
		entries = append(entries, found...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	status.Sort(entries)
	return entries, first
}

// Diff tells what a deploy would change on every cluster of the target.
func (d *delivery) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	var mu sync.Mutex
	byCluster := map[string][]difference.Object{}
	var order []string
	err := d.read(ctx, target, func(ctx context.Context, cluster conn.Cluster, a capability.ContinuousDelivery, err error) error {
		if err != nil {
			return err
		}
		reader, ok := a.(differ)
		if !ok {
			return protocol.Unsupported("the adapter cannot tell what would change").WithHint("its controller can: argocd app diff, flux diff")
		}
		objects, err := reader.Diff(ctx, app, target, image, chart)
		for i := range objects {
			objects[i].Cluster = cluster.Name
		}
		mu.Lock()
		defer mu.Unlock()
		byCluster[cluster.Name] = objects
		return err
	}, func(clusters []conn.Cluster) {
		for _, c := range clusters {
			order = append(order, c.Name)
		}
	})
	var all []difference.Object
	for _, name := range order {
		all = append(all, byCluster[name]...)
	}
	return all, err
}

// read calls look for every cluster of the target, some at once. planned are told
// the clusters before.
func (d *delivery) read(ctx context.Context, target string,
	look func(context.Context, conn.Cluster, capability.ContinuousDelivery, error) error, planned ...func([]conn.Cluster)) error {
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return err
	}
	for _, tell := range planned {
		tell(clusters)
	}
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(protocol.MultiCluster{}.AtOnce())
	for _, cluster := range clusters {
		group.Go(func() error {
			a, err := d.open(reading, cluster, target, d.env.Progress)
			return look(reading, cluster, a, err)
		})
	}
	return group.Wait()
}

// open makes the adapter for one cluster.
func (d *delivery) open(ctx context.Context, cluster conn.Cluster, target string, progress func(protocol.Event)) (capability.ContinuousDelivery, error) {
	flags, err := cluster.Flags()
	if err != nil {
		return nil, err
	}
	env := d.env
	env.Topology, env.Cluster, env.Progress = cluster.Topology(d.env.Topology, target), cluster.Name, progress
	return d.make(flags)(ctx, env)
}
