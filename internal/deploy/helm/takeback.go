package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TakeBack implements [capability.Reverter]. The revision that is gone back from is
// marked as failed, so that no later rollback chooses it.
func (a *adapter) TakeBack(ctx context.Context, app protocol.AppSpec, target string, from capability.Setback, _ func(protocol.DeployResult)) (protocol.DeployResult, error) {
	deployed := from.On(a.Env.Cluster)
	result, err := a.rollback(ctx, app, target, func(d *deployment, last *release.Release) (*release.Release, error) {
		to, err := d.before(last, deployed)
		if err == nil && last.Version == deployed.Revision && !d.DryRun {
			err = d.mark(last, release.StatusFailed, markFailed+delivery.Clean(from.Reason))
		}
		return to, err
	})
	result.RunningVersion = result.Version
	if result.Outcome == protocol.OutcomeUnchanged { // by a process that was killed
		result.Outcome = protocol.OutcomeRolledBack
	}
	return result, err
}

// before is the revision that ran before a deploy. The last one must be what the deploy
// made; or what it is gone back to already.
func (d *deployment) before(last *release.Release, deployed protocol.DeployResult) (*release.Release, error) {
	history, err := d.history()
	if err != nil {
		return nil, err
	}
	var earlier *release.Release
	for _, r := range history {
		if r.Version == deployed.PreviousRevision {
			earlier = r
		}
	}
	if earlier == nil || recordOf(earlier).chart != deployed.PreviousChart || recordOf(earlier).image != deployed.PreviousImage {
		return nil, delivery.Forgotten("release "+d.App.Name, deployed)
	}
	made := recordOf(last)
	switch {
	case last.Version == deployed.Revision && made.chart == deployed.Chart && made.image == deployed.Image:
		return earlier, nil
	case last.Version > deployed.Revision && made == recordOf(earlier) && last.Info.Status == release.StatusDeployed:
		return last, nil
	case last.Version > deployed.Revision && made == recordOf(earlier): // half done
		return earlier, nil
	}
	return nil, delivery.Superseded(d.App.Name, fmt.Sprintf("version %s, revision %d", versionOf(last), last.Version))
}
