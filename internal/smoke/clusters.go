package smoke

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/protocol"
)

// checkAll checks the app on a target of several clusters: first what goes
// through a cluster, on every one of them, then once what does not.
func (c *checker) checkAll(ctx context.Context, s scene) (protocol.SmokeReport, error) {
	app, target := s.app, s.target
	clusters, err := conn.Clusters(ctx, c.flags, c.env.Topology, target)
	if err != nil {
		return protocol.SmokeReport{}, err
	}
	if _, err := newProbes(s); err != nil {
		return protocol.SmokeReport{}, err
	}
	inside, outside := s, s
	if inside.app, outside.app, err = Split(app, target); err != nil {
		return protocol.SmokeReport{}, err
	}
	report := protocol.SmokeReport{Metadata: app.Metadata, Target: target, Planned: c.env.DryRun, Checks: []protocol.CheckResult{}}
	if len(inside.app.Smoke) > 0 {
		err = c.checkEach(ctx, inside, clusters, &report)
	}
	if err != nil {
		report.Checks = append(report.Checks, skipped(outside.app.Smoke)...)
		return report, err
	}
	last, err := c.checkOne(ctx, outside)
	report.Checks = append(report.Checks, last.Checks...)
	report.Passed = err == nil && !c.env.DryRun
	return report, err
}

// Split is the app with those of its smoke checks that go through a cluster, and with the
// others. One of the first that needs one of the others is an error of status
// protocol.ExitInvalid.
func Split(app protocol.AppSpec, target string) (inside, outside protocol.AppSpec, err error) {
	inside, outside = app, app
	inside.Smoke = slices.DeleteFunc(slices.Clone(app.Smoke), func(check protocol.SmokeCheck) bool { return !needsCluster(check) })
	outside.Smoke = slices.DeleteFunc(slices.Clone(app.Smoke), needsCluster)
	for _, check := range inside.Smoke {
		if i := slices.IndexFunc(outside.Smoke, func(other protocol.SmokeCheck) bool { return slices.Contains(check.Needs, other.Name) }); i >= 0 {
			return inside, outside, protocol.Invalid("app %s: smoke check %s runs on each cluster of %s and cannot need %s, which runs once, after them",
				app.Name, check.Name, target, outside.Smoke[i].Name)
		}
	}
	return inside, outside, nil
}

// checkEach checks the app on every cluster, some at once. One that fails does
// not stop the others.
func (c *checker) checkEach(ctx context.Context, s scene, clusters []conn.Cluster, report *protocol.SmokeReport) error {
	reports, errs := make([]protocol.SmokeReport, len(clusters)), make([]error, len(clusters))
	var group errgroup.Group
	group.SetLimit(c.env.Topology.Targets[s.target].MultiCluster.AtOnce())
	for i, cluster := range clusters {
		group.Go(func() error {
			one, err := c.on(cluster, s.target)
			if err == nil {
				reports[i], err = one.checkOne(ctx, s)
			}
			if err != nil && len(reports[i].Checks) == 0 { // the cluster cannot be reached
				reports[i].Checks = skipped(s.app.Smoke)
				err = fmt.Errorf("cluster %s: %w", cluster.Name, err)
			}
			errs[i] = err
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	var failed []error
	for i, one := range reports {
		if errs[i] != nil {
			failed = append(failed, errs[i])
		}
		for _, check := range one.Checks {
			check.Cluster = clusters[i].Name
			if check.Status == protocol.CheckPassed && len(clusters) > wordy {
				check.Message = ""
			}
			report.Checks = append(report.Checks, check)
		}
	}
	return failureOfAll(failed, fmt.Sprintf("smoke checks failed on %d of %d clusters", len(failed), len(clusters)))
}

// wordy is up to how many clusters the report, which is one document, has the messages of
// passed checks.
const wordy = 50

func (c *checker) on(cluster conn.Cluster, target string) (*checker, error) {
	flags, err := cluster.Flags()
	env := c.env
	env.Topology, env.Cluster = cluster.Topology(c.env.Topology, target), cluster.Name
	env.Progress = func(e protocol.Event) {
		e.Message = cluster.Name + ": " + e.Message
		c.env.Progress(e)
	}
	return &checker{env: env, flags: flags, find: c.find}, err
}
