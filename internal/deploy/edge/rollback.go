package edge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Rollback has devices follow an earlier state: that of a version, or the one
// before when to is empty. The result is protocol.OutcomeRolledBack only when
// every known device reports to run it.
func (a *adapter) Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error) {
	return a.rollback(ctx, app, target, func(d *deployment, now devices.Artifact) (devices.Artifact, error) {
		return d.earlier(ctx, now, strings.TrimPrefix(to, "v"))
	})
}

// TakeBack implements [capability.Reverter].
func (a *adapter) TakeBack(ctx context.Context, app protocol.AppSpec, target string, from capability.Setback, _ func(protocol.DeployResult)) (protocol.DeployResult, error) {
	version := ""
	result, err := a.rollback(ctx, app, target, func(d *deployment, now devices.Artifact) (devices.Artifact, error) {
		deployed := from.Deployed
		if p := deployed.Published; p == nil || now.Digest != p.Digest {
			return devices.Artifact{}, delivery.Superseded(app.Name, "version "+now.Annotations[marks.Version]+", "+now.Digest)
		}
		before, err := d.earlier(ctx, now, "")
		if err == nil && (before.Annotations[marks.Chart] != deployed.PreviousChart || before.Annotations[marks.Image] != deployed.PreviousImage) {
			err = delivery.Forgotten(d.place.URL(), deployed)
		}
		version = before.Annotations[marks.Version]
		return before, err
	})
	result.RunningVersion = version
	return result, err
}

// rollback has devices follow the state that choose finds for the one they follow now.
func (a *adapter) rollback(ctx context.Context, app protocol.AppSpec, target string,
	choose func(*deployment, devices.Artifact) (devices.Artifact, error)) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	now, latest, err := d.newest(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if now.Digest == "" {
		return protocol.DeployResult{}, protocol.Invalid("nothing of %s is published for %s", app.Name, d.place.Whose())
	}
	earlier, err := choose(d, now)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	d.become(earlier)
	p := published{digest: earlier.Digest, previous: now, unchanged: earlier.Digest == now.Digest}
	if d.dryRun {
		return d.result(p, devices.Progress{}), nil
	}
	if !p.unchanged || d.ringed() {
		d.progress(protocol.Event{Phase: "rollback", Message: "to version " + d.app.Version + ", " + p.digest})
		if err := d.returnTo(ctx, earlier, now, latest); err != nil {
			return protocol.DeployResult{}, err
		}
	}
	reported, err := d.await(ctx, p.digest)
	if err != nil {
		return protocol.DeployResult{}, fmt.Errorf("roll %s back on %s: %w", app.Name, target, err)
	}
	result := d.result(p, reported)
	if result.Outcome == protocol.OutcomeUpgraded {
		result.Outcome = protocol.OutcomeRolledBack
	}
	return result, nil
}

func (d *deployment) earlier(ctx context.Context, now devices.Artifact, to string) (devices.Artifact, error) {
	tag := devices.TagPrevious
	if to != "" {
		tag = protocol.TagOf(to)
	}
	found, err := d.before(ctx, now, to)
	if err == nil && found.Digest == "" {
		found, err = d.place.State.Get(ctx, tag)
	}
	switch {
	case err != nil:
		return found, err
	case to == "" && (found.Digest == "" || found.Digest == now.Digest):
		return found, protocol.Invalid("no state of %s was published for %s before this one", d.app.Name, d.place.Whose())
	case to == "" && found.IsTombstone():
		return found, protocol.Invalid("before this state %s was uninstalled from %s", d.app.Name, d.place.Whose()).
			WithHint("name the version with --to, or uninstall it again: harmony uninstall %s", d.app.Name)
	case found.Digest != "" && !found.IsTombstone():
		return found, nil
	}
	tags, err := d.place.State.Tags(ctx)
	if err != nil {
		return found, err
	}
	versions := slices.DeleteFunc(tags, func(tag string) bool { return !devices.IsVersion(tag) })
	slices.Sort(versions)
	return found, protocol.Invalid("version %s of %s was never published for %s", to, d.app.Name, d.place.Whose()).
		WithHint("there are: %s", strings.Join(versions, ", "))
}

// become makes the deployment that of a published state.
func (d *deployment) become(state devices.Artifact) {
	d.app.Version = state.Annotations[marks.Version]
	d.image.Digest = state.Annotations[marks.Image]
	d.image.Images = marks.ReadImages(state.Annotations[marks.Images], d.image)
	d.chart.Digest = state.Annotations[marks.Chart]
}
