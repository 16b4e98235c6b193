package argocd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollbackAfter rolls back to the release before this one, where the topology
// wants that, and says why.
func (w *work) rollbackAfter(ctx context.Context, why error) (protocol.DeployResult, error) {
	passing := protocol.ExitCode(w.argo.Explain(why)) == protocol.ExitRetryable && !errors.Is(why, context.DeadlineExceeded)
	if !w.settings.rollback || !w.settings.manage || ctx.Err() != nil || passing {
		return protocol.DeployResult{}, why
	}
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	found, err := w.argo.existing(ctx)
	if err != nil {
		return protocol.DeployResult{}, delivery.Also(why, "it is not rolled back", err)
	}
	to, ok := previous(found)
	if !ok || equality.Semantic.DeepEqual(to.Source, w.want.Source) {
		return protocol.DeployResult{}, delivery.Also(why, "it is not rolled back", errNoPrevious)
	}
	w.Say("rollback", "to version %s, chart %s", to.Version, to.chart())
	if err := w.rollbackTo(ctx, to); err != nil {
		return protocol.DeployResult{}, delivery.Also(why, "rolling back to version "+to.Version+" failed", err)
	}
	return w.result(protocol.OutcomeRolledBack, to, to), fmt.Errorf("%w\nrolled back to version %s", why, to.Version)
}

// errNoPrevious means that there is nothing to roll back to.
var errNoPrevious = errors.New("there is no release before this one that is known to be good")

// rollbackTo puts a release that was there before into force, and waits until it
// runs.
func (d *deployment) rollbackTo(ctx context.Context, to release) error {
	d.promote = true
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
		image, err := to.image(d.Image)
		if err != nil {
			return err
		}
		token := rand.Text()
		err = d.begin(ctx, token, func(found *application) error {
			if d.takenBack != "" {
				annotate(found.Unstructured, marks.TakenBack, d.takenBack)
			}
			return to.write(found.Unstructured)
		})
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
	return a.rollback(ctx, app, target, "", asked(to))
}

// choice finds the release to go back to, and what comes of that, by the release in
// force and the one before it, which may be empty. what names the object.
type choice func(what any, now, last release) (release, protocol.Outcome, error)

// asked is what a user asked for: a version, or the one before when to is empty.
func asked(to string) choice {
	return func(what any, now, last release) (release, protocol.Outcome, error) {
		return earlier(what, strings.TrimPrefix(to, "v"), now, last)
	}
}

// rollback brings back the release that choose finds. why is noted in the Application,
// unless it is empty.
func (a *adapter) rollback(ctx context.Context, app protocol.AppSpec, target, why string, choose choice) (protocol.DeployResult, error) {
	if !a.settings.manage {
		return protocol.DeployResult{}, protocol.Unsupported("the Application of %s for target %q comes from Git", app.Name, target).WithHint("revert the change in Git")
	}
	d, err := a.prepare(app, target, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata})
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := d.bounded(ctx)
	defer cancel()
	d.takenBack = why
	c := d.lock(d.argo.String(), func(ctx context.Context) (protocol.DeployResult, error) {
		last, result, err := d.earlier(ctx, choose)
		if err == nil && result.Outcome == protocol.OutcomeRolledBack {
			err = d.rollbackTo(ctx, last)
		}
		return result, err
	})
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) {
		_, result, err := d.earlier(ctx, choose)
		return result, err
	}
	result, err := c.Run(bounded, bounded)
	return result, d.explain(ctx, err)
}

// earlier is the release to roll back to, and the result of that.
func (d *deployment) earlier(ctx context.Context, choose choice) (release, protocol.DeployResult, error) {
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
	last, _ := previous(found)
	now := releaseOf(found)
	chosen, outcome, err := choose(d.argo, now, last)
	return chosen, d.result(outcome, chosen, now), err
}

// earlier chooses the release to roll back to, and what comes of that: the
// version in force is kept, and only the one before it is known.
func earlier(what any, to string, now, last release) (release, protocol.Outcome, error) {
	switch {
	case to != "" && to == now.Version:
		return now, protocol.OutcomeUnchanged, nil
	case last.Source == nil || equality.Semantic.DeepEqual(last.Source, now.Source):
		return last, "", protocol.Unsupported("%s: %w", what, errNoPrevious)
	case to != "" && to != last.Version:
		return last, "", protocol.Unsupported("%s has no version %s to roll back to, only %s", what, to, last.Version).WithHint("deploy that version again")
	}
	return last, protocol.OutcomeRolledBack, nil
}

// rollbackAfter brings the release before to all clusters, where the topology wants that
// and there is one. An ApplicationSet has one release for all.
func (f *fanout) rollbackAfter(ctx context.Context, why error) error {
	found, err := f.read(ctx)
	if err != nil || found == nil || !f.settings.rollback {
		return why
	}
	to, ok := noted(found.Unstructured, marks.Previous)
	if !ok || equality.Semantic.DeepEqual(to.Source, f.want.Source) {
		return delivery.Also(why, "it is not rolled back", errNoPrevious)
	}
	applications, err := f.applications(ctx)
	if err != nil {
		return delivery.Also(why, "it is not rolled back", err)
	}
	outcomes := make([]protocol.Outcome, len(f.members))
	for i, m := range f.members {
		if a := applications[m.application]; f.ends[i].Outcome != "" || a != nil && began(a, f.want.release) {
			outcomes[i] = protocol.OutcomeRolledBack
		}
	}
	spec, err := f.setSpec(to)
	if err != nil {
		return err
	}
	f.Say("rollback", "all clusters roll back to version %s, chart %s", to.Version, to.chart())
	err = f.write(ctx, to, spec)
	if err == nil {
		err = f.follow(ctx, to, outcomes)
	}
	if err != nil {
		return delivery.Also(why, "rolling back to version "+to.Version+" failed", err)
	}
	return fmt.Errorf("%w\nrolled back to version %s", why, to.Version)
}

// RollbackAll brings all clusters back to the release before the one in force; to
// is its version, or empty. An ApplicationSet keeps one of them.
func (a *adapter) RollbackAll(ctx context.Context, app protocol.AppSpec, target, to string, clusters []conn.Cluster) (protocol.DeployResult, error) {
	f, err := a.prepareAll(app, target, clusters, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata}, func(protocol.DeployResult) {})
	if err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := f.rollback(ctx, asked(to))
	return result, f.explain(ctx, err)
}

func (f *fanout) rollback(ctx context.Context, choose choice) (protocol.DeployResult, error) {
	found, err := f.read(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if found == nil {
		return protocol.DeployResult{}, protocol.Unsupported("there is no %s", f.set)
	}
	if err := f.ownedSet(found); err != nil {
		return protocol.DeployResult{}, err
	}
	now, _ := noted(found.Unstructured, marks.Release)
	last, _ := noted(found.Unstructured, marks.Previous)
	last, outcome, err := choose(f.set, now, last)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if f.spec, err = f.setSpec(last); err != nil {
		return protocol.DeployResult{}, err
	}
	f.want.release, f.was = last, now
	outcomes := slices.Repeat([]protocol.Outcome{outcome}, len(f.members))
	if outcome == protocol.OutcomeUnchanged {
		return f.foreseen(outcomes)
	}
	return f.apply(ctx, outcomes, func(_ context.Context, failure error) error { return failure })
}
