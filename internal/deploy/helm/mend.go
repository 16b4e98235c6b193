package helm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/pkg/protocol"
)

// foreignAge is how old a pending revision of plain helm, which takes no lease,
// must be to be given up.
const foreignAge = 5 * time.Minute

// free is the last revision once nobody works on it. One that a process left
// half done is mended.
func (d *deployment) free(ctx context.Context, inherited bool) (*release.Release, error) {
	for {
		last, err := d.last(ctx)
		if err != nil || last == nil || !isHalfDone(last) {
			return last, err
		}
		age := time.Since(last.Info.LastDeployed.Time)
		if inherited || leftByUs(last) || age > foreignAge {
			return d.mend(ctx, last)
		}
		d.Say("wait", "release %s is %s by helm", d.App.Name, last.Info.Status)
		err = lease.AwaitChange(ctx, foreignAge-age, func(ctx context.Context) (watch.Interface, error) {
			return d.Client.CoreV1().Secrets(d.Namespace).Watch(ctx, metav1.ListOptions{LabelSelector: releaseSelector(d.App.Name)})
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, protocol.Retryable("release %s is %s since %s, by a helm that may still be at work", d.App.Name, last.Info.Status, last.Info.LastDeployed.Format(time.TimeOnly)).
				WithHint("wait for it to end; after %s harmony takes the release to be abandoned", foreignAge)
		}
		if err != nil {
			return nil, err
		}
	}
}

func isHalfDone(r *release.Release) bool {
	return r.Info.Status.IsPending() || r.Info.Status == release.StatusUninstalling
}

// leftByUs reports an install or upgrade of harmony. It took the lease for it,
// and since the lease is now ours it is gone. A rollback may be one of plain
// helm to a revision of harmony.
func leftByUs(r *release.Release) bool {
	status := r.Info.Status
	return recordOf(r) != record{} && (status == release.StatusPendingInstall || status == release.StatusPendingUpgrade)
}

// mend records a half-done revision as failed, as Helm itself does with one
// that is interrupted. When it was about something else than is wanted now, the
// release is also rolled back, so that nothing of it is left behind; the same
// again is simply gone on with. A release that was never deployed needs no
// rollback: Helm starts from its failed revision.
func (d *deployment) mend(ctx context.Context, last *release.Release) (*release.Release, error) {
	d.Say("mend", "release %s was left %s", d.App.Name, last.Info.Status)
	last.SetStatus(release.StatusFailed, fmt.Sprintf("harmony: left %s by a process that is gone", last.Info.Status))
	if err := d.config.Releases.Update(last); err != nil {
		return nil, fmt.Errorf("mend release %s: %w", d.App.Name, err)
	}
	if recordOf(last) == d.want {
		return last, nil
	}
	deployed, err := d.deployed()
	if err != nil || deployed == nil {
		return last, err
	}
	d.autoscaling(ctx)
	rollback := action.NewRollback(d.config)
	rollback.Version, rollback.DisableHooks, rollback.MaxHistory = deployed.Version, true, d.settings.maxHistory
	if err := rollback.Run(d.App.Name); err != nil {
		return nil, fmt.Errorf("roll release %s back to revision %d, to mend it: %w", d.App.Name, deployed.Version, err)
	}
	return d.last(ctx)
}
