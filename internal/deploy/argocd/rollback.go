package argocd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollbackAfter rolls back to the release before this one, where the topology
// wants that, and tells why.
func (w *work) rollbackAfter(ctx context.Context, why error) (protocol.DeployResult, error) {
	passing := protocol.ExitCode(w.argo.Explain(why)) == protocol.ExitRetryable && !errors.Is(why, context.DeadlineExceeded)
	if !w.settings.rollback || !w.settings.manage || ctx.Err() != nil || passing {
		return protocol.DeployResult{}, why
	}
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	to, err := w.goodRelease(ctx)
	if err != nil {
		return protocol.DeployResult{}, delivery.Also(why, "it is not rolled back", err)
	}
	w.say("rollback", "to version %s, chart %s", to.Version, to.chart())
	if err := w.rollbackTo(ctx, to); err != nil {
		return protocol.DeployResult{}, delivery.Also(why, "rolling back to version "+to.Version+" failed", err)
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

// rollbackTo puts a release that was there before into force, and waits until it
// runs.
func (d *deployment) rollbackTo(ctx context.Context, to release) error {
	for {
		found, err := d.argo.existing(ctx)
		if err != nil {
			return err
		}
		if token := found.Operation.Token(); token != "" {
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
	earlier := strings.TrimPrefix(to, "v")
	c := d.lock(d.argo.String(), func(ctx context.Context) (protocol.DeployResult, error) {
		last, result, err := d.earlier(ctx, earlier)
		if err == nil && result.Outcome == protocol.OutcomeRolledBack {
			err = d.rollbackTo(ctx, last)
		}
		return result, err
	})
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) {
		_, result, err := d.earlier(ctx, earlier)
		return result, err
	}
	result, err := c.Run(bounded, bounded)
	return result, d.explain(ctx, err)
}

// earlier is the release to roll back to, and the result of that.
func (d *deployment) earlier(ctx context.Context, to string) (release, protocol.DeployResult, error) {
	found, err := d.argo.get(ctx)
	if err == nil && found == nil {
		err = protocol.Unsupported("there is no %s", d.argo)
	}
	if err == nil {
		err = d.owned(found)
	}
	if err != nil {
		return release{}, protocol.DeployResult{}, err
	}
	now := releaseOf(found)
	if to != "" && to == now.Version {
		return now, d.result(protocol.OutcomeUnchanged, now, now), nil
	}
	last, ok := previous(found)
	switch {
	case !ok || equality.Semantic.DeepEqual(last.Source, now.Source):
		err = protocol.Unsupported("%s: %w", d.argo, errNoPrevious)
	case to != "" && to != last.Version:
		err = protocol.Unsupported("%s has no version %s to roll back to, only %s", d.argo, to, last.Version).WithHint("deploy that version again")
	}
	return last, d.result(protocol.OutcomeRolledBack, last, now), err
}
