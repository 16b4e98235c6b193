package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// prepared is a chart that is ready to be applied.
type prepared struct {
	chart *chart.Chart
	// objects are those to apply, and before those of the revision in force.
	objects, before []*unstructured.Unstructured
	// source is the template of an object.
	source func(*unstructured.Unstructured) string
	hooks  []rollout.Workload
	// hasHooks is true when Helm has hooks to run, of whatever kind.
	hasHooks bool
}

// render fetches the chart, renders it, and checks that it uses the image.
func (d *deployment) render(ctx context.Context, last *release.Release) (prepared, error) {
	archive, err := file.Fetch(ctx, d.Chart)
	if err != nil {
		return prepared{}, err
	}
	look, err := loadChart(archive, d.want, d.App.Version)
	if err != nil {
		return prepared{}, err
	}
	if d.config.Capabilities, err = delivery.Capabilities(d.Discovery); err != nil {
		return prepared{}, err
	}
	options := chartutil.ReleaseOptions{Name: d.App.Name, Namespace: d.Namespace, Revision: 1, IsInstall: true}
	if !isGone(last) {
		options.Revision, options.IsInstall, options.IsUpgrade = last.Version+1, false, true
	}
	r, err := file.Render(engine.New(d.Config), look, d.Values.All, options, d.config.Capabilities)
	if err != nil {
		return prepared{}, protocol.Invalid("chart %q with the values of target %q: %w", d.Chart.Chart, d.Target, err)
	}
	if err := r.Uses(d.Image, d.Chart); err != nil {
		return prepared{}, err
	}
	p := prepared{objects: r.Objects, source: r.Source, hasHooks: len(r.Hooks) > 0}
	d.Irreversible = r.Irreversible
	if !isGone(last) {
		if p.before, err = manifest.Parse(last.Manifest); err != nil {
			return prepared{}, err
		}
	}
	if err := d.keepReplicas(ctx, p.before, p.objects); err != nil {
		return prepared{}, err
	}
	if p.hooks, err = d.hooks(ctx, r.Hooks); err != nil {
		return prepared{}, err
	}
	// Rendering changes a chart: Helm gets a fresh one.
	p.chart, err = loadChart(archive, d.want, d.App.Version)
	return p, err
}

// hooks are the hooks that run to an end. Those of an earlier run that still
// exist are not the ones meant.
func (d *deployment) hooks(ctx context.Context, objects []*unstructured.Unstructured) ([]rollout.Workload, error) {
	all, err := rollout.Workloads(objects, d.Namespace)
	if err != nil {
		return nil, err
	}
	var hooks []rollout.Workload
	for _, w := range all {
		if w.Kind == "Job" || w.Kind == "Pod" {
			hooks = append(hooks, w)
		}
	}
	snapshots, err := rollout.Read(ctx, d.Client, hooks)
	for i, s := range snapshots {
		if s.Object != nil {
			hooks[i].Ignore = string(s.Object.GetUID())
		}
	}
	return hooks, err
}

func (d *deployment) deployed() (*release.Release, error) {
	r, err := d.config.Releases.Deployed(d.App.Name)
	if errors.Is(err, driver.ErrNoDeployedReleases) || errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the deployed revision of release %s: %w", d.App.Name, err)
	}
	return r, nil
}

// apply has Helm install or upgrade, without waiting for the rollout. Helm ends
// a cancelled call while its requests still run, so that the call is only
// cancelled where it could last: when there are hooks to wait for.
func (d *deployment) apply(ctx context.Context, p prepared, last *release.Release) (*release.Release, error) {
	d.Say("apply", "release %s", d.App.Name)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !p.hasHooks {
		r, err := d.action(context.WithoutCancel(ctx), p, last, d.settings.timeout)
		return r, errors.Join(err, ctx.Err())
	}
	var applied *release.Release
	err := d.watching(ctx, "hook", p.hooks, func(ctx context.Context) (err error) {
		applied, err = d.action(ctx, p, last, remaining(ctx))
		return err
	})
	return applied, err
}

// watching has Helm run hooks. It shows what they write, and cancels Helm when
// one cannot succeed.
func (d *deployment) watching(ctx context.Context, phase string, hooks []rollout.Workload, run func(context.Context) error) error {
	watched, stop := context.WithCancelCause(ctx)
	problem := make(chan error, 1)
	go func() {
		err := rollout.Wait(watched, d.Client, hooks, rollout.Options{FailOnly: true, FailFast: d.settings.failFast, Progress: delivery.Rollout(d.Progress, phase),
			Log: func(w rollout.Workload, _, line string) {
				d.Progress(protocol.Event{Phase: protocol.PhaseStep, Message: w.String() + ": " + line})
			}})
		problem <- err
		stop(err)
	}()
	err := run(watched)
	if err == nil {
		stop(context.Canceled)
		<-problem
		return nil
	}
	return d.hookError(ctx, err, problem, stop)
}

// hookSees is how long after Helm the watch of the hooks may see a failure.
const hookSees = time.Second

// hookError prefers the problem that the watch of the hooks saw to Helm's own error.
func (d *deployment) hookError(ctx context.Context, err error, problem <-chan error, stop context.CancelCauseFunc) error {
	timer := time.AfterFunc(hookSees, func() { stop(context.Canceled) })
	defer timer.Stop()
	seen := <-problem
	switch {
	case seen != nil && !errors.Is(seen, context.Canceled):
		return fmt.Errorf("hook of release %s: %w", d.App.Name, seen)
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

func remaining(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

func (d *deployment) action(ctx context.Context, p prepared, last *release.Release, timeout time.Duration) (*release.Release, error) {
	d.autoscaling(ctx)
	description := describedByUs + d.App.Name + " " + d.App.Version
	if d.Image.Digest != "" {
		description += ", image " + d.Image.Digest
	}
	if isGone(last) {
		install := action.NewInstall(d.config)
		install.ReleaseName, install.Namespace, install.Description = d.App.Name, d.Namespace, description
		install.Timeout, install.Replace, install.SkipCRDs = timeout, true, true
		install.TakeOwnership = d.Adopt != capability.AdoptNothing
		r, err := install.RunWithContext(ctx, p.chart, d.Values.All)
		if err != nil {
			return nil, fmt.Errorf("install release %s: %w", d.App.Name, err)
		}
		// Helm only logs it when it cannot record the end of an install.
		if err := d.config.Releases.Update(r); err != nil {
			return nil, fmt.Errorf("record that release %s is installed: %w", d.App.Name, err)
		}
		return r, nil
	}
	upgrade := action.NewUpgrade(d.config)
	upgrade.Namespace, upgrade.Description = d.Namespace, description
	upgrade.Timeout, upgrade.MaxHistory, upgrade.ResetValues, upgrade.SkipCRDs = timeout, d.settings.maxHistory, true, true
	upgrade.TakeOwnership = d.Adopt != capability.AdoptNothing
	r, err := upgrade.RunWithContext(ctx, d.App.Name, p.chart, d.Values.All)
	if err != nil {
		return nil, fmt.Errorf("upgrade release %s: %w", d.App.Name, err)
	}
	return r, nil
}

// resume continues a rollout that was applied before. Pods that a
// controller tries again after ever longer pauses are replaced, so that what
// was mended meanwhile is seen at once. A revision that was healthy before is
// not taken back: something else than it is to blame.
func (d *deployment) resume(ctx context.Context, r *release.Release) (protocol.DeployResult, error) {
	workloads, err := d.workloads(ctx, r)
	if err == nil {
		err = delivery.ReplaceStuck(ctx, d.Client, workloads)
	}
	if err != nil {
		return protocol.DeployResult{}, err
	}
	unchanged, err := d.Held(d.unchanged(r), d.finish(ctx, r))
	if err == nil {
		return unchanged, nil
	}
	if len(d.drifted) > 0 {
		return protocol.DeployResult{}, delivery.Drifted(err, d.drifted)
	}
	if !isProven(r) {
		err = unhealthyError{err}
	}
	return protocol.DeployResult{}, err
}

// follow waits until the revision is rolled out and its image proven to run.
func (d *deployment) follow(ctx context.Context, r *release.Release) error {
	workloads, err := d.workloads(ctx, r)
	if err == nil {
		err = d.tellUnproven(r)
	}
	if err != nil {
		return err
	}
	return rollout.Wait(ctx, d.Client, workloads, rollout.Options{
		Progress: delivery.Rollout(d.Progress, "rollout"), FailFast: d.settings.failFast, Promote: d.promote,
		Check: func(s []rollout.Snapshot) (bool, error) { return d.proven(ctx, r, s) },
	})
}

// test runs the chart's tests, where the topology wants that, and shows what
// they write. It returns the revision with their results.
func (d *deployment) test(ctx context.Context, r *release.Release) (*release.Release, error) {
	isTest := func(hook *release.Hook) bool { return slices.Contains(hook.Events, release.HookTest) }
	var text string
	for _, hook := range r.Hooks {
		if isTest(hook) {
			text += "\n---\n" + hook.Manifest
		}
	}
	if !d.settings.tests || text == "" {
		return r, nil
	}
	objects, err := manifest.Parse(text)
	if err != nil {
		return nil, err
	}
	hooks, err := d.hooks(ctx, objects)
	if err != nil {
		return nil, err
	}
	d.Say("test", "release %s", d.App.Name)
	tests := action.NewReleaseTesting(d.config)
	tests.Namespace, tests.Timeout = d.Namespace, remaining(ctx)
	tested := r
	err = d.watching(ctx, "test", hooks, func(context.Context) (err error) {
		if tested, err = tests.Run(d.App.Name); err != nil {
			return fmt.Errorf("test release %s: %w", d.App.Name, err)
		}
		return nil
	})
	return tested, err
}
