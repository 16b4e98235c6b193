package helm

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// run reads the release and does what is missing, until the deadline.
func (d *deployment) run(ctx context.Context, deadline time.Time) (protocol.DeployResult, error) {
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	last, err := d.last(bounded)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	settled, err := d.settled(bounded, last)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if settled {
		return d.unchanged(last), nil
	}
	if err := d.mayChange(bounded, last); err != nil {
		return protocol.DeployResult{}, err
	}
	return d.change(ctx, deadline, last)
}

// isGone reports that there is no release, or one that was uninstalled and only
// left its history.
func isGone(last *release.Release) bool {
	return last == nil || last.Info.Status == release.StatusUninstalled
}

// applied reports whether the last revision is the wanted one, healthy or not.
func (d *deployment) applied(last *release.Release) bool {
	if isGone(last) || recordOf(last) != d.want {
		return false
	}
	return last.Info.Status == release.StatusDeployed || last.Info.Status == release.StatusFailed && isUnhealthy(last)
}

// settled reports that there is nothing to do: the last revision is what is
// wanted, nobody changed its objects, and its image runs.
func (d *deployment) settled(ctx context.Context, last *release.Release) (bool, error) {
	if !d.applied(last) || last.Info.Status != release.StatusDeployed {
		return false, nil
	}
	workloads, err := d.workloads(ctx, last)
	if err != nil {
		return false, err
	}
	var surroundings bool
	var snapshots []rollout.Snapshot
	group, reading := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		d.drifted, err = d.drift(reading, last)
		return err
	})
	group.Go(func() (err error) {
		surroundings, err = d.surroundings().Settled(reading, d.Client)
		return err
	})
	group.Go(func() (err error) {
		snapshots, err = rollout.Read(reading, d.Client, workloads)
		return err
	})
	if err := group.Wait(); err != nil || !surroundings || len(d.drifted) > 0 && !d.settings.reportDrift {
		return false, err
	}
	if ready, err := delivery.Ready(snapshots); err != nil || !ready {
		return false, err
	}
	return d.proven(ctx, last, snapshots)
}

// surroundings is what the release needs of its namespace.
func (d *deployment) surroundings() namespace.Wanted {
	return namespace.Wanted{Name: d.Namespace, Labels: d.settings.namespaceLabels, PullSecret: d.pullSecret}
}

// unchanged is the result when nothing is to be done. Drift that is only
// reported stands in it.
func (d *deployment) unchanged(last *release.Release) protocol.DeployResult {
	r := d.result(protocol.OutcomeUnchanged, last.Version, d.want)
	r.Adopted = "" // by another process meanwhile
	return delivery.Reported(d.Progress, r, d.drifted)
}

// workloads are the objects of a revision to wait for.
func (d *deployment) workloads(ctx context.Context, r *release.Release) ([]rollout.Workload, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return nil, err
	}
	workloads, err := rollout.Workloads(objects, d.Namespace)
	if err != nil {
		return nil, err
	}
	stepwise, err := rollout.Progressive(ctx, objects, d.Space(), d.settings.wait)
	if err != nil {
		return nil, err
	}
	others, err := rollout.Objects(ctx, objects, d.Space(), d.settings.wait)
	return slices.Concat(workloads, stepwise, others), err
}

// change brings the release to what is wanted, under the lease. What the chart
// gives is looked at before anything is touched. The lease is held beyond the
// deadline, while a deploy that failed is rolled back.
func (d *deployment) change(ctx context.Context, deadline time.Time, last *release.Release) (protocol.DeployResult, error) {
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var p prepared
	c := d.lock()
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) { return d.plan(ctx, last) }
	c.Prepare = func(ctx context.Context) (err error) {
		if err := namespace.Check(ctx, d.Client, d.Namespace); err != nil {
			return err
		}
		if p, err = d.render(ctx, last); err != nil {
			return err
		}
		if err := d.claiming(p).Check(ctx, p.before, p.objects); err != nil {
			return err
		}
		around := d.surroundings()
		if slices.ContainsFunc(p.objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == "Namespace" && o.GetName() == d.Namespace
		}) {
			around.Release = d.App.Name
		}
		return around.Ensure(ctx, d.Client)
	}
	c.Work = func(held context.Context, inherited bool) (protocol.DeployResult, error) {
		working, cancel := context.WithDeadline(held, deadline)
		defer cancel()
		result, err := d.changeHeld(working, p, inherited)
		if err != nil {
			return d.afterFailure(held, err)
		}
		return result, nil
	}
	return c.Run(ctx, bounded)
}

func (d *deployment) lock() delivery.Change {
	return d.Lock(d.Cluster, d.Namespace, d.App.Name, "release "+d.App.Name)
}

// changeHeld does the work of change under the lease.
func (d *deployment) changeHeld(ctx context.Context, prepared prepared, inherited bool) (protocol.DeployResult, error) {
	last, err := d.free(ctx, inherited)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.mayChange(ctx, last); err != nil {
		return protocol.DeployResult{}, err
	}
	if d.applied(last) {
		// Another process did it meanwhile, or only the rollout is missing.
		if d.drifted, err = d.drift(ctx, last); err != nil {
			return protocol.DeployResult{}, err
		}
		if len(d.drifted) == 0 || d.settings.reportDrift {
			return d.resume(ctx, last)
		}
		d.Say("apply", "%s", strings.Join(d.drifted, ", "))
		d.drifted = nil
	}
	return d.upgrade(ctx, prepared, last)
}

func (d *deployment) upgrade(ctx context.Context, prepared prepared, last *release.Release) (protocol.DeployResult, error) {
	before, err := d.deployed()
	if err != nil {
		return protocol.DeployResult{}, err
	}
	outcome := protocol.OutcomeUpgraded
	if isGone(last) {
		outcome = protocol.OutcomeInstalled
	}
	if err := d.ensureCRDs(ctx, prepared.chart); err != nil {
		return protocol.DeployResult{}, err
	}
	applied, err := d.apply(ctx, prepared, last)
	if err != nil {
		return protocol.DeployResult{}, unhealthyError{err}
	}
	err = d.finish(ctx, applied)
	result := d.result(outcome, applied.Version, recordOf(before))
	if before != nil {
		result.PreviousRevision = before.Version
	}
	if result, err = d.Held(result, err); err != nil {
		return protocol.DeployResult{}, unhealthyError{err}
	}
	return result, nil
}

// finish waits until the revision is healthy, and records that.
func (d *deployment) finish(ctx context.Context, r *release.Release) error {
	if err := d.follow(ctx, r); err != nil {
		return err
	}
	r, err := d.test(ctx, r)
	if err != nil {
		return err
	}
	return d.mark(r, release.StatusDeployed, markProven)
}
