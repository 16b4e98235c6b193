package fan

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Migrate implements [capability.Migrator]. On a target of several clusters the migrations
// run on each of them, wave by wave, and stop after the first wave in which one failed.
func (d *fanned) Migrate(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.MigrationReport, error) {
	if d.env.Topology.Targets[target].EdgeDevice != nil {
		return protocol.MigrationReport{}, protocol.Unsupported("target %q is of edge devices, on which harmony runs no migrations", target)
	}
	if a := d.single(target); a != nil {
		if err := d.renew(ctx, app, target); err != nil {
			return protocol.MigrationReport{}, err
		}
		return a.Migrate(ctx, app, target, image, chart)
	}
	clusters, err := conn.Clusters(ctx, d.flags, d.env.Topology, target)
	if err != nil {
		return protocol.MigrationReport{}, err
	}
	m := migrations{fanned: d, app: app, target: target, clusters: clusters, reports: make([]protocol.MigrationReport, len(clusters)), errs: make([]error, len(clusters))}
	multi, start := d.env.Topology.Targets[target].MultiCluster, 0
	for _, end := range multi.Ends(len(clusters)) {
		m.wave(ctx, start, end, multi.AtOnce(), func(ctx context.Context, a delivery.Adapter) (protocol.MigrationReport, error) {
			return a.Migrate(ctx, app, target, image, chart)
		})
		if err = m.failure(); err != nil || ctx.Err() != nil {
			break
		}
		start = end
	}
	return m.report(err), err
}

// migrations are those of one run over the clusters of a target.
type migrations struct {
	*fanned
	app      protocol.AppSpec
	target   string
	clusters []conn.Cluster
	reports  []protocol.MigrationReport
	errs     []error
}

// wave migrates the clusters from start to end, so many at once.
func (m *migrations) wave(ctx context.Context, start, end, atOnce int, migrate func(context.Context, delivery.Adapter) (protocol.MigrationReport, error)) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := start; i < end; i++ {
		group.Go(func() error {
			name := m.clusters[i].Name
			a, err := m.open(ctx, m.clusters[i], m.target, func(e protocol.Event) {
				e.Message = name + ": " + e.Message
				m.env.Progress(e)
			})
			if err == nil {
				m.reports[i], err = migrate(ctx, a)
			}
			m.errs[i] = err
			return nil
		})
	}
	_ = group.Wait() // what failed is told cluster by cluster
}

// failure tells the clusters on which a migration failed; nil when there is none.
func (m *migrations) failure() error {
	var errs []error
	for i, err := range m.errs {
		if err != nil {
			errs = append(errs, &protocol.Error{Code: protocol.ExitCode(err), Err: fmt.Errorf("%s: %w", m.clusters[i].Name, err), Hint: protocol.HintOf(err)})
		}
	}
	return delivery.Together(errs)
}

// report is that of the target. On clusters that were not reached, all are skipped.
func (m *migrations) report(cause error) protocol.MigrationReport {
	var results []protocol.MigrationResult
	for i, cluster := range m.clusters {
		of := m.reports[i].Migrations
		if len(of) == 0 {
			for _, one := range m.app.Migrations {
				of = append(of, protocol.MigrationResult{Name: one.Name, Status: protocol.MigrationSkipped})
			}
		}
		for _, result := range of {
			result.Cluster = cluster.Name
			results = append(results, result)
		}
	}
	r := protocol.NewMigrationReport(m.app.Metadata, m.target, m.env.Provider.Adapter, results, cause)
	r.Planned = m.env.DryRun
	return r
}

// removed takes the app off a target by its adapter, and with it what its migrations have
// left there.
func removed(ctx context.Context, a delivery.Adapter, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	result, err := a.Remove(ctx, app, target)
	if err != nil {
		return result, err
	}
	left, err := a.Forget(ctx, app, target)
	result.Removed = append(result.Removed, left...)
	return result, err
}

// Forget removes what migrations have left on every cluster of the target.
func (d *fanned) Forget(ctx context.Context, app protocol.AppSpec, target string) ([]protocol.ObjectRef, error) {
	if a := d.single(target); a != nil {
		return a.Forget(ctx, app, target)
	}
	found, errs, err := each(ctx, d, target, func(ctx context.Context, a delivery.Adapter) ([]protocol.ObjectRef, error) {
		return a.Forget(ctx, app, target)
	})
	var left []protocol.ObjectRef
	for _, c := range found {
		left = append(left, c.value...)
	}
	return left, errors.Join(err, delivery.Worst(errs))
}

var _ delivery.Adapter = &fanned{}
