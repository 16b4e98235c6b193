package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/pipeline"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// releaseFlags are those of release and plan.
type releaseFlags struct {
	source  project.Source
	fromTag string
	targets []string
	// pipeline is the name of one of the project.
	pipeline string
	output   string
	all      bool
	dryRun   bool
	quiet    bool
	noCache  bool
	explain  bool
	// adopt is passed to the deploy stage.
	adopt string
	// rollback is passed to the deploy stage if it was given, as are the others.
	rollback, noDowngrade, follow *pflag.Flag
}

const (
	rollbackFlag  = "rollback-on-failure"
	downgradeFlag = "no-downgrade"
	followFlag    = "follow"
)

func (f *releaseFlags) register(cmd *cobra.Command) {
	own := cmd.Flags()
	own.StringVarP(&f.source.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	own.StringVar(&f.source.Topology, "topology", "", "the topology by `name` (default HARMONY_TOPOLOGY, else ci where CI is set, else local)")
	own.StringVar(&f.source.Version, "version", "", "the release's semantic `version` (default from git describe)")
	own.StringVar(&f.fromTag, "from-tag", "", "take app and version from a `tag` of the form <app>-v<semver>; in a tag build GITHUB_REF_NAME is used automatically")
	own.StringSliceVar(&f.targets, "target", nil, "the `targets` to deploy to, in order (default staging,production, or all of the project's pipeline)")
	own.StringVar(&f.pipeline, "pipeline", "", "the project's pipeline by `name` (default its only one, or the one called default)")
	own.BoolVar(&f.all, "all", false, "all apps of harmony.yaml")
	own.BoolVarP(&f.quiet, "quiet", "q", false, "show results and failures only")
	own.BoolVar(&f.explain, "explain", false, "explain why an app is rebuilt or where its image was found, and where the image goes in its chart")
	own.BoolVar(&f.noCache, "no-cache", false, "rebuild everything, ignoring caches")
	own.Bool(rollbackFlag, true, "go back to the release before when a deploy or its smoke checks fail; off by default in the topology local")
	f.rollback = own.Lookup(rollbackFlag)
	own.Bool(downgradeFlag, false, "refuse to replace a newer version by an older one; on by default in the topology ci and on a target production")
	f.noDowngrade = own.Lookup(downgradeFlag)
	own.Bool(followFlag, false, "stay while the rollout to several clusters waits or is paused between its waves")
	f.follow = own.Lookup(followFlag)
	own.StringVar(&f.adopt, "adopt", "", "take over what somebody else deployed of the apps: `same-chart`, or any-chart")
	own.Lookup("adopt").NoOptDefVal = "same-chart"
	own.StringVarP(&f.output, "output", "o", "auto", "json, text, or auto: text on a terminal, else json")
	f.source.Getenv = os.Getenv
	f.source.Warn = func(text string) { term.Warn(os.Stderr, text) }
	cmd.ValidArgsFunction = f.completeApps
}

func (h *harmony) release() *cobra.Command {
	f := &releaseFlags{}
	cmd := &cobra.Command{
		Use:   "release [APP...]",
		Short: "Release apps: build, publish, then deploy and check each target",
		Long: `Release apps: build and publish, deploy to staging, run the smoke checks, deploy to
production, run the smoke checks. Apps are released in parallel; a step starts when all
apps have finished the previous one. An app that fails is left out of later steps. A
document of kind Pipeline in harmony.yaml defines other steps.

An app's migrations run on each target before its deploy, once for a version; one that
fails stops before anything is deployed there.

A target whose smoke checks fail goes back to the release before, unless its
onSmokeFailure is halt, as in the topology local; later targets are not touched.

A rollout to several clusters may wait or pause between its waves: the release ends with
status 0 and says what continues it, or stays with --follow.

It is always safe to run the command again: completed work is not repeated.`,
		Example: `  harmony release fleet-operator
  harmony release 'fleet-*' --version 1.4.0
  harmony release --from-tag fleet-operator-v1.4.0
  harmony release --all --dry-run

  # take over what helm, Flux or Argo CD run of it: look first, with harmony diff
  harmony release fleet-operator --adopt

  # from any folder: an app of harmony-fleet, an app plugin on PATH
  harmony release fleet-operator
  harmony fleet release --from-tag fleet-operator-v1.4.0`,
		RunE: func(cmd *cobra.Command, apps []string) error {
			if f.dryRun {
				return h.runPlan(cmd, f, apps)
			}
			return h.runRelease(cmd, f, apps)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be done and change nothing, like harmony plan")
	return cmd
}

// prepare reads the configuration and decides what to release. It finds everything
// that can be wrong with the command line or the project.
func (f *releaseFlags) prepare(ctx context.Context, patterns []string) (release pipeline.Release, err error) {
	if f.output != "auto" && f.output != "json" && f.output != "text" {
		return release, protocol.Invalid("--output %q is not one of auto, json, text", f.output)
	}
	if f.adopt != "" && f.adopt != "same-chart" && f.adopt != "any-chart" {
		return release, protocol.Invalid("--adopt %q is not one of same-chart, any-chart", f.adopt)
	}
	project, apps, err := f.selected(ctx, patterns)
	if err != nil {
		return release, err
	}
	if release.Topology, err = f.source.TopologyOf(ctx, project); err != nil {
		return release, err
	}
	own, err := project.Pipeline(f.pipeline)
	if err != nil {
		return release, err
	}
	if release.Steps, release.Targets, err = pipeline.Steps(own, release.Topology, f.targets, apps); err != nil {
		return release, err
	}
	if err := project.Require(release.Topology, config.Needs{OCIRegistry: true, HelmRegistry: true, Targets: release.Targets}); err != nil {
		return release, err
	}
	if err := config.Locked(apps); err != nil {
		return release, err
	}
	if release.Apps, err = f.source.WithVersions(ctx, apps); err != nil {
		return release, err
	}
	release.Flags, release.Explain, release.Adopt = f.stageFlags(), f.explain, f.adopt
	release.OnSmokeFailure = f.onSmokeFailure()
	release.Describer.Cache = cachedir.In("describe")
	release.Finder, err = finderFor(project)
	return release, err
}

// selected are the project and its apps to release: those that the arguments name, or
// the app of a tag.
func (f *releaseFlags) selected(ctx context.Context, patterns []string) (*config.Project, []protocol.AppSpec, error) {
	tag, patterns, err := f.wanted(patterns)
	if err != nil {
		return nil, nil, err
	}
	project, err := f.source.Find(ctx, project.Wanted{Patterns: patterns, Tag: tag})
	if err != nil {
		return nil, nil, err
	}
	if patterns, err = f.applyTag(tag, project.Names(), patterns); err != nil {
		return nil, nil, err
	}
	apps, err := project.Select(patterns)
	return project, apps, err
}

// stageFlags are the flags that the stages get.
func (f *releaseFlags) stageFlags() map[string][]string {
	flags := map[string][]string{}
	if f.noCache {
		flags[capability.StageBuild] = []string{"--no-cache"}
	}
	for _, flag := range []*pflag.Flag{f.rollback, f.noDowngrade, f.follow} {
		if flag.Changed {
			flags[capability.StageDeploy] = append(flags[capability.StageDeploy], "--"+flag.Name+"="+flag.Value.String())
		}
	}
	return flags
}

// onSmokeFailure is what the flag says of targets whose checks fail; empty when it was
// not given.
func (f *releaseFlags) onSmokeFailure() string {
	switch {
	case !f.rollback.Changed:
		return ""
	case f.rollback.Value.String() == "true":
		return protocol.SmokeRollback
	}
	return protocol.SmokeHalt
}

// wanted are the tag and the names or globs of the apps to release. The tag is that of
// the flag, or of a tag build if the arguments set neither app nor version.
func (f *releaseFlags) wanted(patterns []string) (tag string, _ []string, err error) {
	switch {
	case f.fromTag != "" && (f.source.Version != "" || f.all):
		return "", nil, protocol.Invalid("--from-tag sets app and version: it cannot be combined with --version or --all")
	case f.all && len(patterns) > 0:
		return "", nil, protocol.Invalid("--all cannot be combined with app names")
	case f.all:
		patterns = []string{"*"}
	case f.fromTag == "" && f.source.Version == "":
		tag, _ = version.TagFromEnvironment(f.source.Getenv)
		return tag, patterns, nil
	}
	return f.fromTag, patterns, nil
}

// applyTag takes app and version from the tag, if there is one.
func (f *releaseFlags) applyTag(tag string, known, patterns []string) ([]string, error) {
	if tag == "" {
		return patterns, nil
	}
	app, v, err := version.FromTag(tag, known)
	if err != nil {
		return nil, err
	}
	if len(patterns) > 0 && !(len(patterns) == 1 && patterns[0] == app) {
		return nil, protocol.Invalid("tag %q is of app %q, but the arguments name %s", tag, app, strings.Join(patterns, ", "))
	}
	f.source.Version = v.String()
	return []string{app}, nil
}

func (h *harmony) runRelease(cmd *cobra.Command, f *releaseFlags, patterns []string) error {
	release, err := f.prepare(cmd.Context(), patterns)
	if err != nil {
		return err
	}
	began := time.Now()
	out := cmd.OutOrStdout()
	options := term.Options{Err: cmd.ErrOrStderr(), Getenv: os.Getenv, Quiet: f.quiet}
	documents := protocol.NewWriter(out)
	if f.text(out) {
		options.Results, documents = out, protocol.NewWriter(io.Discard)
	}
	console := term.New(options)
	defer console.Close()
	var failed atomic.Pointer[error]
	write := func(s protocol.Spec) {
		if err := documents.WriteSpec(s); err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	console.Columns(release.Apps, release.Targets)
	release.Event = console.Event
	release.Line = func(stage, line string) { console.Line("%s: %s", stage, term.Clean(line)) }
	release.Result = func(s protocol.Spec, stage, target string) {
		console.Result(s, stage, target)
		write(s)
	}
	release.Failed = func(failure protocol.Failure) {
		console.Failure(failure)
		write(failure)
	}
	if h.code, err = release.Run(cmd.Context()); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("write to stdout: %w", *err)
	}
	console.Summary(release.Topology.Name, release.Apps, h.code, time.Since(began))
	return nil
}

// text reports whether results are shown to a person instead of as documents.
func (f *releaseFlags) text(out any) bool {
	return f.output == "text" || f.output == "auto" && term.IsTerminal(out)
}

func (f *releaseFlags) completeApps(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	project, err := f.source.Project()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return project.Names(), cobra.ShellCompDirectiveNoFileComp
}
