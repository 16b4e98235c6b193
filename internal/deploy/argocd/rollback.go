package argocd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollBack brings back the release before this one, where the topology wants
// that, and tells why.
func (w *work) rollBack(ctx context.Context, why error) (protocol.DeployResult, error) {
	passing := protocol.ExitCode(w.argo.Explain(why)) == protocol.ExitRetryable && !errors.Is(why, context.DeadlineExceeded)
	if !w.settings.rollback || !w.settings.manage || ctx.Err() != nil || passing {
		return protocol.DeployResult{}, why
	}
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	to, err := w.goodRelease(ctx)
	if err != nil {
		return protocol.DeployResult{}, fmt.Errorf("%w\nit is not rolled back: %v", why, err)
	}
	w.say("rollback", "to version %s, chart %s", to.Version, to.chart())
	if err := w.deployment.bring(ctx, to); err != nil {
		return protocol.DeployResult{}, fmt.Errorf("%w\nrolling back to version %s failed: %v", why, to.Version, err)
	}
	return w.result(protocol.OutcomeRolledBack, to, to), fmt.Errorf("%w\nrolled back to version %s", why, to.Version)
}

// errNoPrevious tells that there is nothing to go back to.
var errNoPrevious = errors.New("there is no release before this one that is known to be good")

func (w *work) goodRelease(ctx context.Context) (release, error) {
	found, err := w.argo.existing(ctx)
	if err != nil {
		return release{}, err
	}
	to, ok := previous(found)
	if !ok || equality.Semantic.DeepEqual(to.Source, w.want.Source) {
		return release{}, errNoPrevious
	}
	return to, nil
}

// bring puts a release that was there before into force, and waits until it
// runs.
func (d *deployment) bring(ctx context.Context, to release) error {
	for {
		found, err := d.argo.existing(ctx)
		if err != nil {
			return err
		}
		if token := found.Operation.token(); token != "" {
			if err := d.terminate(ctx, token); err != nil {
				return err
			}
		} else if _, err = d.free(ctx); err != nil {
			return err
		}
		image, err := to.image(d.image)
		if err != nil {
			return err
		}
		token := rand.Text()
		err = d.begin(ctx, token, func(found *application) error { return to.write(found.Unstructured) })
		if err == nil {
			err = d.await(ctx, token, to.chart())
		}
		if errors.Is(err, errBusy) || errors.Is(err, errReplaced) {
			continue
		}
		if err != nil {
			return err
		}
		return d.follow(ctx, to, image)
	}
}

// Rollback brings back the release before the one in force; to is its version,
// or empty. An Application keeps one of them.
func (a *adapter) Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	if !a.settings.manage {
		return protocol.DeployResult{}, protocol.Unsupported("the Application of %s for target %q comes from Git", app.Name, target).WithHint("revert the change in Git")
	}
	d, err := a.prepare(app, target, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata})
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := d.bounded(ctx)
	defer cancel()
	result, err := d.goBack(bounded, to)
	if err != nil {
		return result, d.explain(ctx, err)
	}
	return result, nil
}

func (d *deployment) goBack(ctx context.Context, to string) (protocol.DeployResult, error) {
	l, err := lease.Acquire(ctx, d.argo.client.CoordinationV1().Leases(d.argo.namespace), d.argo.name, d.waitsFor)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	ctx, stop := l.Hold(ctx)
	defer stop()
	found, err := d.argo.get(ctx)
	switch {
	case err != nil:
		return protocol.DeployResult{}, err
	case found == nil:
		return protocol.DeployResult{}, protocol.Unsupported("there is no %s", d.argo)
	}
	if err := d.owned(found); err != nil {
		return protocol.DeployResult{}, err
	}
	if to != "" && to == releaseOf(found).Version {
		return d.result(protocol.OutcomeUnchanged, releaseOf(found), releaseOf(found)), nil
	}
	last, ok := previous(found)
	now := releaseOf(found)
	switch {
	case !ok || equality.Semantic.DeepEqual(last.Source, now.Source):
		return protocol.DeployResult{}, protocol.Unsupported("%s: %w", d.argo, errNoPrevious)
	case to != "" && to != last.Version:
		return protocol.DeployResult{}, protocol.Unsupported("%s has no version %s to go back to, only %s", d.argo, to, last.Version).
			WithHint("deploy that version again")
	}
	if d.dryRun {
		return d.result(protocol.OutcomeRolledBack, last, now), nil
	}
	return d.result(protocol.OutcomeRolledBack, last, now), d.bring(ctx, last)
}
