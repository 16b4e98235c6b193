package argocd

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TakeBack implements [capability.Reverter]. The Application says from then on why.
func (a *adapter) TakeBack(ctx context.Context, app protocol.AppSpec, target string, from capability.Setback, _ func(protocol.DeployResult)) (protocol.DeployResult, error) {
	why := delivery.Clean(fmt.Sprintf("from version %s: %s", app.Version, from.Reason))
	var back release
	result, err := a.rollback(ctx, app, target, why, noting(&back, before(app, from.On(a.Env.Cluster))))
	result.RunningVersion = back.Version
	return result, err
}

// TakeAllBack is TakeBack over the clusters, which an ApplicationSet delivers to.
func (a *adapter) TakeAllBack(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster, from capability.Setback,
	each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	deployed := from.Deployed
	for _, one := range from.Clusters { // one release for all
		if one.PreviousChart != "" {
			deployed.PreviousImage, deployed.PreviousChart = one.PreviousImage, one.PreviousChart
		}
	}
	f, err := a.prepareAll(app, target, clusters, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata}, each)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	var back release
	result, err := f.rollback(ctx, noting(&back, before(app, deployed)))
	result.RunningVersion = back.Version
	return result, f.explain(ctx, err)
}

// noting keeps what is chosen.
func noting(chosen *release, choose choice) choice {
	return func(what any, now, last release) (release, protocol.Outcome, error) {
		to, outcome, err := choose(what, now, last)
		*chosen = to
		return to, outcome, err
	}
}

// before chooses the release that ran before a deploy of the app. What is in force must
// be what the deploy brought; or what it is gone back to already, which is followed and
// proven once more.
func before(app protocol.AppSpec, deployed protocol.DeployResult) choice {
	return func(what any, now, last release) (release, protocol.Outcome, error) {
		ours := now.Version == app.Version && now.chart() == deployed.Chart && now.digest() == deployed.Image
		kept := last.Source != nil && last.chart() == deployed.PreviousChart && last.digest() == deployed.PreviousImage
		back := kept && now.Version == last.Version && now.chart() == last.chart() && now.digest() == last.digest()
		switch {
		case !ours && !back:
			return release{}, "", delivery.Superseded(app.Name, fmt.Sprintf("version %s, chart %s", now.Version, now.chart()))
		case !kept:
			return release{}, "", delivery.Forgotten(fmt.Sprint(what), deployed)
		}
		return last, protocol.OutcomeRolledBack, nil
	}
}
