package argocd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollbackAfter brings the release before to all clusters, where the topology wants that
// and there is one. An ApplicationSet has one release for all.
func (f *fanout) rollbackAfter(ctx context.Context, why error) error {
	found, err := f.read(ctx)
	if err != nil || found == nil || !f.settings.rollback {
		return why
	}
	to, ok := found.previous()
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
	f.say("rollback", "all clusters roll back to version %s, chart %s", to.Version, to.chart())
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
	result, err := f.rollback(ctx, strings.TrimPrefix(to, "v"))
	return result, f.explain(ctx, err)
}

func (f *fanout) rollback(ctx context.Context, to string) (protocol.DeployResult, error) {
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
	now, _ := found.release()
	last, ok := found.previous()
	outcome := protocol.OutcomeRolledBack
	switch {
	case to != "" && to == now.Version:
		last, outcome = now, protocol.OutcomeUnchanged
	case !ok || equality.Semantic.DeepEqual(last.Source, now.Source):
		return protocol.DeployResult{}, protocol.Unsupported("%s: %w", f.set, errNoPrevious)
	case to != "" && to != last.Version:
		return protocol.DeployResult{}, protocol.Unsupported("%s has no version %s to roll back to, only %s", f.set, to, last.Version).
			WithHint("deploy that version again")
	}
	if f.spec, err = f.setSpec(last); err != nil {
		return protocol.DeployResult{}, err
	}
	f.want.release = last
	outcomes := slices.Repeat([]protocol.Outcome{outcome}, len(f.members))
	if outcome == protocol.OutcomeUnchanged {
		return f.foreseen(outcomes)
	}
	return f.apply(ctx, outcomes, func(_ context.Context, failure error) error { return failure })
}
