package helm

import (
	"context"
	"fmt"
	"slices"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// test runs the chart's tests, where the topology wants that, and shows what
// they write. It returns the revision with their results.
func (d *deployment) test(ctx context.Context, r *release.Release) (*release.Release, error) {
	if !d.settings.tests || !slices.ContainsFunc(r.Hooks, isTest) {
		return r, nil
	}
	var text string
	for _, hook := range r.Hooks {
		if isTest(hook) {
			text += "\n---\n" + hook.Manifest
		}
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

func isTest(hook *release.Hook) bool { return slices.Contains(hook.Events, release.HookTest) }
