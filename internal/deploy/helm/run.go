package helm

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/internal/deploy/lease"
	"github.com/nationtech/harmony/internal/deploy/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// run looks at the release and does what is missing.
func (d *deployment) run(ctx context.Context) (protocol.DeployResult, error) {
	last, err := lastRelease(ctx, d.cluster, d.config, d.app.Name)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	settled, err := d.settled(ctx, last)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	switch {
	case settled:
		return d.result(protocol.OutcomeUnchanged, last.Version, d.want), nil
	case d.dryRun:
		return d.plan(last), nil
	}
	return d.change(ctx, last)
}

// plan says what would be done.
func (d *deployment) plan(last *release.Release) protocol.DeployResult {
	if isGone(last) {
		return d.result(protocol.OutcomeInstalled, 0, record{})
	}
	return d.result(protocol.OutcomeUpgraded, last.Version, recordOf(last))
}

// isGone reports that there is no release, or one that was uninstalled and only
// left its history.
func isGone(last *release.Release) bool {
	return last == nil || last.Info.Status == release.StatusUninstalled
}

// applied reports that the last revision is what is wanted.
func (d *deployment) applied(last *release.Release) bool {
	return !isGone(last) && last.Info.Status == release.StatusDeployed && recordOf(last) == d.want
}

// settled reports that there is nothing to do: the last revision is what is
// wanted, nobody changed its objects, and its image runs.
func (d *deployment) settled(ctx context.Context, last *release.Release) (bool, error) {
	if !d.applied(last) {
		return false, nil
	}
	workloads, err := d.workloads(last)
	if err != nil {
		return false, err
	}
	var drift string
	var snapshots []rollout.Snapshot
	group, reading := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		drift, err = d.drift(reading, last)
		return err
	})
	group.Go(func() (err error) {
		snapshots, err = rollout.Read(reading, d.client, workloads)
		return err
	})
	if err := group.Wait(); err != nil || drift != "" {
		return false, err
	}
	for _, s := range snapshots {
		status, err := rollout.StatusOf(s)
		if err != nil || !status.Ready {
			return false, err
		}
	}
	return d.proven(ctx, last, snapshots)
}

func (d *deployment) workloads(r *release.Release) ([]rollout.Workload, error) {
	objects, err := parseManifest(r.Manifest)
	if err != nil {
		return nil, err
	}
	return rollout.Workloads(objects, d.Namespace)
}

// change takes the lease and brings the release to what is wanted. What the
// chart gives is looked at before anything is touched.
func (d *deployment) change(ctx context.Context, last *release.Release) (protocol.DeployResult, error) {
	prepared, err := d.render(ctx, last)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.ensureNamespace(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	l, err := lease.Acquire(ctx, d.client.CoordinationV1().Leases(d.Namespace), d.app.Name, d.waitsFor)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	ctx, stop := l.Hold(ctx)
	defer stop()
	result, err := d.changeHeld(ctx, prepared, l.Inherited)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, lease.ErrLost) {
		return result, protocol.Retryable("release %s: %w", d.app.Name, cause)
	}
	return result, err
}

func (d *deployment) waitsFor(holder string, since time.Time) {
	d.progress(protocol.Event{Phase: "wait", Message: "release " + d.app.Name + " is being worked on by " + holder + " since " + since.Format(time.TimeOnly)})
}

// changeHeld does the work of change under the lease.
func (d *deployment) changeHeld(ctx context.Context, prepared prepared, inherited bool) (protocol.DeployResult, error) {
	last, err := d.free(ctx, inherited)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if d.applied(last) {
		// Another process did it meanwhile, or only the rollout is missing.
		drift, err := d.drift(ctx, last)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		if drift == "" {
			if err := d.resume(ctx, last); err != nil {
				return protocol.DeployResult{}, err
			}
			return d.result(protocol.OutcomeUnchanged, last.Version, d.want), nil
		}
		d.progress(protocol.Event{Phase: "apply", Message: drift})
	}
	before, err := d.deployed()
	if err != nil {
		return protocol.DeployResult{}, err
	}
	outcome := protocol.OutcomeUpgraded
	if isGone(last) {
		outcome = protocol.OutcomeInstalled
	}
	applied, err := d.apply(ctx, prepared, last)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.follow(ctx, applied); err != nil {
		return protocol.DeployResult{}, err
	}
	return d.result(outcome, applied.Version, recordOf(before)), nil
}
