package helm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"

	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What harmony writes into the description of a revision, where helm history
// shows it: who made it, and how it ended. Helm keeps the description when it
// supersedes the revision.
const (
	describedByUs = "harmony: "
	markProven    = "; healthy"
	markFailed    = "; failed: "
)

// unhealthyError says that a revision was applied, as a whole or in part, and is
// not good.
type unhealthyError struct{ error }

func (e unhealthyError) Unwrap() error { return e.error }

// proven reports a revision that was once seen to be healthy with its image. One
// that harmony did not make is unknown.
func isProven(r *release.Release) bool {
	return strings.HasPrefix(r.Info.Description, describedByUs) && strings.HasSuffix(r.Info.Description, markProven)
}

// isUnhealthy reports a revision that was applied as a whole and found not to
// become healthy.
func isUnhealthy(r *release.Release) bool {
	return strings.HasPrefix(r.Info.Description, describedByUs) && strings.Contains(r.Info.Description, markFailed)
}

// mark records in the revision how it ended.
func (d *deployment) mark(r *release.Release, status release.Status, mark string) error {
	made, _, _ := strings.Cut(r.Info.Description, ";")
	description := made + mark
	if r.Info.Status == status && r.Info.Description == description {
		return nil
	}
	r.SetStatus(status, description)
	if err := d.config.Releases.Update(r); err != nil {
		return fmt.Errorf("record how revision %d of release %s ended: %w", r.Version, d.App.Name, err)
	}
	return nil
}

// afterFailure records a revision that did not become healthy and, where the
// topology wants it, goes back to the last good one. It returns the error that
// it was given, with what was made of it.
func (d *deployment) afterFailure(ctx context.Context, failure error) (protocol.DeployResult, error) {
	var unhealthy unhealthyError
	if !errors.As(failure, &unhealthy) || ctx.Err() != nil || errors.Is(failure, lease.ErrLost) || protocol.ExitCode(failure) == protocol.ExitRetryable {
		return protocol.DeployResult{}, failure
	}
	ctx, cancel := context.WithTimeout(ctx, d.settings.timeout)
	defer cancel()
	result, err := d.rollbackAfter(ctx, failure)
	if err != nil {
		return protocol.DeployResult{}, delivery.Also(failure, "and the rollback failed", err)
	}
	return result, failure
}

// rollbackAfter returns no outcome when there is nothing to roll back to.
func (d *deployment) rollbackAfter(ctx context.Context, failure error) (protocol.DeployResult, error) {
	last, err := d.last(ctx)
	if err != nil || last == nil {
		return protocol.DeployResult{}, err
	}
	if last.Info.Status == release.StatusDeployed {
		first, _, _ := strings.Cut(failure.Error(), "\n")
		if err := d.mark(last, release.StatusFailed, markFailed+first); err != nil {
			return protocol.DeployResult{}, err
		}
	}
	if !d.settings.rollback {
		return protocol.DeployResult{}, nil
	}
	good, err := d.lastGood(last.Version)
	if err != nil || good == nil {
		return protocol.DeployResult{}, err
	}
	d.Say("rollback", "release %s rolls back to revision %d", d.App.Name, good.Version)
	return d.rollbackTo(ctx, good)
}

func (d *deployment) history() ([]*release.Release, error) {
	history, err := d.config.Releases.History(d.App.Name)
	if err != nil {
		return nil, fmt.Errorf("read the history of release %s: %w", d.App.Name, err)
	}
	releaseutil.Reverse(history, releaseutil.SortByRevision)
	return history, nil
}

// lastGood is the newest revision before the one given that was healthy, or, for
// want of one, that was in force and is not known to have failed; nil when there
// is neither.
func (d *deployment) lastGood(before int) (*release.Release, error) {
	history, err := d.history()
	if err != nil {
		return nil, err
	}
	var inForce *release.Release
	for _, r := range history {
		was := r.Info.Status == release.StatusDeployed || r.Info.Status == release.StatusSuperseded
		if r.Version >= before || !was || isUnhealthy(r) {
			continue
		}
		if isProven(r) || !strings.HasPrefix(r.Info.Description, describedByUs) {
			return r, nil
		}
		if inForce == nil {
			inForce = r
		}
	}
	return inForce, nil
}

// rollbackTo makes a new revision that is what the given one was, and waits for
// it as for any other.
func (d *deployment) rollbackTo(ctx context.Context, to *release.Release) (protocol.DeployResult, error) {
	before, err := d.last(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	d.autoscaling(ctx)
	rollback := action.NewRollback(d.config)
	rollback.Version, rollback.Timeout, rollback.MaxHistory = to.Version, d.settings.timeout, d.settings.maxHistory
	if err := rollback.Run(d.App.Name); err != nil {
		return protocol.DeployResult{}, fmt.Errorf("roll release %s back to revision %d: %w", d.App.Name, to.Version, err)
	}
	now, err := d.last(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	back, err := d.revision(now)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	back.promote = true
	if err := back.follow(ctx, now); err != nil {
		return protocol.DeployResult{}, err
	}
	return back.result(protocol.OutcomeRolledBack, now.Version, recordOf(before)), nil
}

// revision is the same deployment with the images and the chart of a revision.
// Those of one that harmony did not make are not known, and so not proven.
func (d *deployment) revision(r *release.Release) (*deployment, error) {
	made := recordOf(r)
	return d.withImage(r, made.image, made.images)
}

// withImage is revision for images that are known from elsewhere: the app's own by
// its digest, further ones as their mark has them.
func (d *deployment) withImage(r *release.Release, digest, images string) (*deployment, error) {
	of := *d
	of.want, of.prover = recordOf(r), nil
	of.want.image, of.want.images = digest, images
	of.Chart.Digest, of.Image.Digest = of.want.chart, of.want.image
	if of.want.image == "" {
		of.Image.Digest = ""
		if of.want.chart != "" { // an app without an image: what the chart pins is proven
			of.prover = proof.NewProver(d.App.Name, of.Image)
		}
		return &of, nil
	}
	image, err := imageOf(r, of.want.image)
	if err != nil {
		return nil, err
	}
	image.Insecure, image.Location = d.Image.Insecure, d.Image.Location
	image.Images = marks.ReadImages(images, image)
	of.Image, of.prover = image, proof.NewProver(d.App.Name, image)
	return &of, nil
}

// choice finds the revision to go back to from the last one, which it is when there is
// nothing to do.
type choice func(d *deployment, last *release.Release) (*release.Release, error)

// rollback is one to the revision that choose finds.
func (d *deployment) rollback(ctx context.Context, choose choice) (protocol.DeployResult, error) {
	last, err := d.last(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if isGone(last) {
		return protocol.DeployResult{}, protocol.Invalid("there is no release %s in namespace %s", d.App.Name, d.Namespace)
	}
	c := d.lock()
	c.Plan = func(context.Context) (protocol.DeployResult, error) { return d.rollbackPlan(last, choose) }
	c.Work = func(ctx context.Context, inherited bool) (protocol.DeployResult, error) {
		last, err := d.free(ctx, inherited)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		target, err := choose(d, last)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		d.App.Version = versionOf(target)
		if target == last {
			of, err := d.revision(last)
			if err == nil {
				err = of.follow(ctx, last)
			}
			if err != nil {
				return protocol.DeployResult{}, err
			}
			return of.result(protocol.OutcomeUnchanged, last.Version, of.want), nil
		}
		d.Say("rollback", "release %s rolls back to revision %d", d.App.Name, target.Version)
		return d.rollbackTo(ctx, target)
	}
	return c.Run(ctx, ctx)
}

// rollbackPlan is the result that a rollback would have.
func (d *deployment) rollbackPlan(last *release.Release, choose choice) (protocol.DeployResult, error) {
	target, err := choose(d, last)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	of, err := d.revision(target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	outcome := protocol.OutcomeRolledBack
	if target == last {
		outcome = protocol.OutcomeUnchanged
	}
	of.App.Version = versionOf(target)
	return of.result(outcome, target.Version, recordOf(last)), nil
}

// chosen is the revision to go back to: the newest one of the version, or the
// newest good one that is something else than what is in force.
func (d *deployment) chosen(last *release.Release, to string) (*release.Release, error) {
	history, err := d.history()
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, r := range history {
		was := r.Info.Status == release.StatusDeployed || r.Info.Status == release.StatusSuperseded
		if !was || isUnhealthy(r) {
			continue
		}
		versions = append(versions, fmt.Sprintf("%s (revision %d)", versionOf(r), r.Version))
		switch {
		case to != "" && versionOf(r) != to:
		case to == "" && (r.Version >= last.Version || recordOf(r) == recordOf(last) && recordOf(r) != record{}):
		case r.Version == last.Version:
			return last, nil
		default:
			return r, nil
		}
	}
	what := "no earlier revision that was healthy"
	if to != "" {
		what = "no revision with version " + to
	}
	return nil, protocol.Invalid("release %s has %s in its history", d.App.Name, what).WithHint("its history has: %s", strings.Join(versions, ", "))
}
