package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// adopt are the flags of the command.
type adopt struct {
	project
	giveBack, anyChart, dryRun, yes bool
}

func (t Tools) adopt() *cobra.Command {
	a := &adopt{}
	cmd := &cobra.Command{
		Use:   "adopt APP...",
		Short: "Take over apps that somebody else deployed, or give them back",
		Long: `Take over apps that somebody else deployed to a target: a release of helm, a
HelmRelease of Flux, an Application of Argo CD, or objects of the chart's names that
nothing keeps. What would change is shown first, as by harmony diff; then the app is
deployed. Pods do not restart where the chart makes the same pods.

The image and the chart are those of the documents on stdin, as for a deploy, or
else the published ones of the version.

Left alone, with status 3: what another controller would write back, such as an
Application of an ApplicationSet or a HelmRelease of a Kustomization, and a release
of another chart unless --any-chart is said.

--release removes harmony's marks instead: the app runs on, whoever managed it before
goes on with it, and harmony deploys it again only with --adopt.`,
		Example: `  harmony adopt fleet-operator --target staging --dry-run
  harmony build fleet-operator | harmony publish | harmony adopt --target staging --yes
  harmony release fleet-operator --adopt
  harmony adopt fleet-operator --target staging --release`,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if err := a.check(patterns, t.Streams.Piped()); err != nil {
				return err
			}
			if a.giveBack {
				return t.runGiveBack(cmd.Context(), a, patterns)
			}
			return t.runAdopt(cmd.Context(), a, patterns)
		},
	}
	t.register(cmd, &a.project)
	a.registerOutput(cmd)
	set := cmd.Flags()
	set.StringVar(&a.source.Version, "version", "", "the published semantic `version` (default by git describe)")
	set.BoolVar(&a.giveBack, "release", false, "give the apps back: remove harmony's marks, and change nothing else")
	set.BoolVar(&a.anyChart, "any-chart", false, "also take over a release of another chart")
	set.BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and change nothing")
	set.BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *adopt) check(patterns []string, piped bool) error {
	switch {
	case len(patterns) == 0 && (a.giveBack || !piped):
		return protocol.Invalid("name the apps to adopt")
	case a.giveBack && (a.anyChart || a.source.Version != ""):
		return protocol.Invalid("--release gives back what is deployed: --version and --any-chart are not for it")
	}
	return a.checkOutput()
}

// openFor makes the adapter of a topology for the command.
func (t Tools) openFor(ctx context.Context, a *adopt, topology protocol.Topology, target string, dryRun bool, progress func(protocol.Event)) (delivery.Adapter, error) {
	env := capability.Environment{DryRun: dryRun, Adopt: capability.AdoptSameChart, Progress: progress}
	if a.anyChart {
		env.Adopt = capability.AdoptAnyChart
	}
	return t.open(ctx, topology, adapterOf(topology), env)
}

func (t Tools) runAdopt(ctx context.Context, a *adopt, patterns []string) error {
	topology, releases, err := t.releases(ctx, &a.project, patterns)
	if err != nil {
		return err
	}
	target, err := a.oneTarget(topology)
	if err == nil {
		err = delivers(topology, "adopt")
	}
	if err != nil {
		return err
	}
	console, progress := t.console()
	defer console.Close()
	plan, err := t.openFor(ctx, a, topology, target, true, progress(target))
	if err != nil {
		return err
	}
	if a.output == "text" {
		if _, err := t.show(ctx, plan, target, releases); err != nil {
			return err
		}
	}
	if a.dryRun {
		return t.deployEach(ctx, a, plan, target, releases)
	}
	if !a.yes {
		if err := t.confirm("adopt", "takes over", namesOf(appsOf(releases)), topology, target); err != nil {
			return err
		}
	}
	adapter, err := t.openFor(ctx, a, topology, target, false, progress(target))
	if err != nil {
		return err
	}
	return t.deployEach(ctx, a, adapter, target, releases)
}

func appsOf(releases []release) []protocol.AppSpec {
	var apps []protocol.AppSpec
	for _, r := range releases {
		apps = append(apps, r.app)
	}
	return apps
}

// deployEach deploys the apps one after the other, and prints the results.
func (t Tools) deployEach(ctx context.Context, a *adopt, adapter delivery.Adapter, target string, releases []release) error {
	var errs []error
	for _, r := range releases {
		result, err := adapter.Deploy(ctx, r.app, target, *r.image, *r.chart)
		if err == nil {
			err = t.printResult(a.output, target, result)
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return delivery.Together(withoutNil(errs))
}

func (t Tools) runGiveBack(ctx context.Context, a *adopt, patterns []string) error {
	topology, apps, err := a.read(ctx, patterns)
	if err != nil {
		return err
	}
	target, err := a.oneTarget(topology)
	if err == nil {
		err = delivers(topology, "adopt")
	}
	if err == nil && !a.dryRun && !a.yes {
		err = t.confirm("give back", "gives back", namesOf(apps), topology, target)
	}
	if err != nil {
		return err
	}
	console, progress := t.console()
	defer console.Close()
	adapter, err := t.openFor(ctx, a, topology, target, a.dryRun, progress(target))
	if err != nil {
		return err
	}
	var errs []error
	for _, app := range apps {
		result, err := adapter.GiveBack(ctx, app, target)
		if err == nil {
			err = t.printResult(a.output, target, result)
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return delivery.Together(withoutNil(errs))
}

func withoutNil(errs []error) []error {
	var failed []error
	for _, err := range errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}
