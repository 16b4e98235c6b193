package argocd

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// run reads the Application and the workloads, and does what is missing.
func (d *deployment) run(ctx context.Context) (protocol.DeployResult, error) {
	deadline := time.Now().Add(d.settings.timeout)
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := namespace.Check(bounded, d.Client, d.Namespace); err != nil {
		return protocol.DeployResult{}, err
	}
	found, err := d.argo.get(bounded)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := d.admissible(found); err != nil {
		return protocol.DeployResult{}, err
	}
	settled, err := d.settled(bounded, found)
	switch {
	case err != nil:
		return protocol.DeployResult{}, err
	case settled:
		return d.result(protocol.OutcomeUnchanged, d.want.release, d.want.release), nil
	case d.settings.report && len(d.drift(found)) > 0:
		return d.reported(bounded, found)
	}
	if err := d.MayReplace(releaseOf(found).Version); err != nil {
		return protocol.DeployResult{}, err
	}
	return d.change(ctx, deadline, found)
}

// admissible fails for an Application that must not be written to.
func (d *deployment) admissible(found *application) error {
	switch {
	case !d.settings.manage:
		return d.fromGit(found)
	case found == nil:
		return nil
	}
	return d.owned(found)
}

// destined is the destination to be written, where harmony writes it, once Argo
// CD is known to have it and the project.
func (d *deployment) destined(ctx context.Context) (place, error) {
	if !d.settings.manage {
		return place{}, nil
	}
	to, err := d.place(ctx)
	if err == nil {
		err = d.argo.project(ctx, d.settings.project)
	}
	return to, err
}

// outcomeOf is the outcome of a change to the Application.
func outcomeOf(found *application) protocol.Outcome {
	if found == nil || len(found.Status.History) == 0 {
		return protocol.OutcomeInstalled
	}
	return protocol.OutcomeUpgraded
}

// wants reports whether the Application already wants this release.
func (d *deployment) wants(found *application) bool {
	if !d.settings.manage {
		return d.gitWants(found)
	}
	return isOurs(found) && d.want.matches(found, d.places())
}

// settled reports that there is nothing to do: the Application wants it, Argo
// CD finds it in force and healthy, and the image runs.
func (d *deployment) settled(ctx context.Context, found *application) (bool, error) {
	if !d.wants(found) || found.Operation != nil || !d.inForce(found) ||
		found.Status.Health.Status != api.Healthy || found.Problem() != nil {
		return false, nil
	}
	return d.running(ctx, found)
}

// inForce reports whether Argo CD found the objects as the chart has them.
func (d *deployment) inForce(found *application) bool {
	s := found.Status.Sync
	return s.Status == api.Synced && api.Pick(s.Revision, s.Revisions, d.sourceIndex(found)) == d.want.chart()
}

// drift names what somebody changed since it was put into force; nothing when
// the Application wants something else, or was never put into force.
func (d *deployment) drift(found *application) []string {
	if !d.wants(found) || found.Operation != nil {
		return nil
	}
	s := found.Status.OperationState
	if s == nil || s.Phase != api.Succeeded || d.revisionOf(found, s) != d.want.chart() {
		return nil
	}
	var changed []string
	for _, r := range found.Status.Resources {
		if r.Status != "" && r.Status != api.Synced {
			changed = append(changed, r.String()+" was changed")
		}
	}
	return changed
}

// reported is the result of a release that somebody changed, where that is only
// told. It is a failure when the release no longer runs.
func (d *deployment) reported(ctx context.Context, found *application) (protocol.DeployResult, error) {
	drift := d.drift(found)
	if err := d.rolledOut(ctx, references(found), d.Image, d.want.release); err != nil {
		return protocol.DeployResult{}, delivery.Drifted(err, drift)
	}
	result := d.result(protocol.OutcomeUnchanged, d.want.release, d.want.release)
	result.Drift = drift
	return result, nil
}

// sourceIndex is the place of the app's chart among the sources of an
// Application; -1 when it is not there.
func (d *deployment) sourceIndex(found *application) int {
	for i, s := range found.Sources() {
		if s.RepoURL == d.Chart.URL && s.Chart == "" {
			return i
		}
	}
	return -1
}

// change brings the Application to what is wanted, under the lease.
func (d *deployment) change(ctx context.Context, deadline time.Time, found *application) (protocol.DeployResult, error) {
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var to place
	c := d.lock(d.argo.String(), func(ctx context.Context) (protocol.DeployResult, error) { return d.changeHeld(ctx, deadline, to) })
	c.Plan = func(ctx context.Context) (protocol.DeployResult, error) {
		if _, err := d.destined(ctx); err != nil {
			return protocol.DeployResult{}, err
		}
		return d.result(outcomeOf(found), d.want.release, releaseOf(found)), nil
	}
	c.Prepare = func(ctx context.Context) (err error) {
		if to, err = d.destined(ctx); err != nil || !d.settings.manage {
			return err
		}
		if d.wants(found) { // a process was killed, or only the rollout is missing
			_, _ = d.rendered(ctx, d.Namespace, false) // d.Irreversible tells
			return nil
		}
		return d.checked(ctx, found == nil)
	}
	return c.Run(ctx, bounded)
}

// changeHeld does the work of change under the lease. What fails after it has
// touched the cluster is rolled back, and what Argo CD refuses is taken back.
func (d *deployment) changeHeld(ctx context.Context, deadline time.Time, to place) (protocol.DeployResult, error) {
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	found, err := d.free(bounded)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if err := errors.Join(d.admissible(found), d.MayReplace(releaseOf(found).Version)); err != nil {
		return protocol.DeployResult{}, err
	}
	w := &work{deployment: d, to: to, found: found, before: d.before(found), outcome: outcomeOf(found)}
	err = w.do(bounded)
	result, err := d.Held(d.result(w.outcome, d.want.release, w.before), err)
	var refused *refusal
	switch {
	case err == nil:
		return result, nil
	case errors.As(err, &refused):
		return protocol.DeployResult{}, errors.Join(err, w.takeBack(ctx))
	}
	return w.rollbackAfter(ctx, err)
}

// before is the release that was in force. An Application that wants ours
// already was left so by a process that did not finish.
func (d *deployment) before(found *application) release {
	if found == nil {
		return release{}
	}
	if s := found.Status.OperationState; d.wants(found) && (s == nil || s.Phase != api.Succeeded) {
		last, _ := previous(found)
		return last
	}
	return releaseOf(found)
}

// free is the Application, or nil, once no operation of somebody else is at
// work on it. One of harmony whose process is gone is taken over when it is
// about the same, and ended when not.
func (d *deployment) free(ctx context.Context) (*application, error) {
	told := ""
	for {
		found, err := delivery.Retried(ctx, d.argo.patient, d.argo.get)
		if err != nil || found == nil {
			return nil, err
		}
		switch {
		case found.GetDeletionTimestamp() != nil:
			told = "is being deleted"
		case found.Operation == nil || found.Operation.Token() != "" && d.wants(found):
			return found, nil
		case found.Operation.Token() != "":
			if err := d.terminate(ctx, found.Operation.Token()); err != nil {
				return nil, err
			}
			continue
		default:
			message := "has an operation of " + found.Operation.Who() + " in progress"
			if s := found.Status.OperationState; s != nil && !s.Done() {
				message += strings.TrimSuffix(" since "+s.StartedAt.Format(time.TimeOnly)+" ("+delivery.Clean(s.Message)+")", " ()")
			}
			if message != told {
				d.Say("wait", "%s %s", d.argo, message)
			}
			told = message
		}
		err = d.argo.wait(ctx, found, 2*time.Second)
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, protocol.Retryable("%s %s", d.argo, told).WithHint("wait for it to end, or end it with: argocd app terminate-op %s", d.argo.name)
		}
		if err != nil {
			return nil, err
		}
	}
}
