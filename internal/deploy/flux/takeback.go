package flux

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TakeBack implements [capability.Reverter]. The HelmRelease says from then on why.
func (a *adapter) TakeBack(ctx context.Context, app protocol.AppSpec, target string, from capability.Setback, _ func(protocol.DeployResult)) (protocol.DeployResult, error) {
	deployed := from.On(a.Env.Cluster)
	result, err := a.rollback(ctx, app, target, func(ctx context.Context, d *deployment, current, source seen) (*release.Release, error) {
		d.takenBack = delivery.Clean(fmt.Sprintf("from version %s: %s", app.Version, from.Reason))
		return d.before(ctx, current, source, deployed)
	})
	result.RunningVersion = result.Version
	if err == nil && result.Outcome == protocol.OutcomeUnchanged { // by a process that was killed
		result.Outcome = protocol.OutcomeRolledBack
	}
	return result, err
}

// before is the revision that ran before a deploy. What the HelmRelease asks for must
// be what the deploy brought; or what it is gone back to already.
func (d *deployment) before(ctx context.Context, current, source seen, deployed protocol.DeployResult) (*release.Release, error) {
	history, err := d.query(current, "")
	if err != nil {
		return nil, err
	}
	given, err := d.givenValues(ctx, current)
	if err != nil {
		return nil, err
	}
	var earlier *release.Release
	for _, r := range history {
		if r.Version == deployed.PreviousRevision && isOf(r.Chart.Metadata.Version, deployed.PreviousChart) {
			earlier = r
		}
	}
	if earlier == nil {
		return nil, delivery.Forgotten(current.String(), deployed)
	}
	digest, _, _ := unstructured.NestedString(source.Object, "spec", "ref", "digest")
	ours := current.revision() == deployed.Revision && digest == deployed.Chart
	back := current.revision() >= deployed.Revision && isWanted(given, source, earlier)
	if !ours && !back {
		now := fmt.Sprintf("version %s, revision %d", current.GetAnnotations()[marks.Version], current.revision())
		return nil, delivery.Superseded(d.App.Name, now)
	}
	return earlier, nil
}
