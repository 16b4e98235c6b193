package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/pipeline"
	"github.com/nationtech/harmony/internal/plugins/discovery"
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
	// rollback is handed to the deploy stage when it was given.
	rollback *pflag.Flag
}

const rollbackFlag = "rollback-on-failure"

func (f *releaseFlags) register(cmd *cobra.Command) {
	own := cmd.Flags()
	own.StringVarP(&f.source.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	own.StringVar(&f.source.Topology, "topology", "", "the topology by `name` (default HARMONY_TOPOLOGY, else ci where CI is set, else local)")
	own.StringVar(&f.source.Version, "version", "", "the release's semantic `version` (default by git describe)")
	own.StringVar(&f.fromTag, "from-tag", "", "take app and version from a `tag` of the form <app>-v<semver>; in a tag build GITHUB_REF_NAME is taken by itself")
	own.StringSliceVar(&f.targets, "target", nil, "the `targets` to deploy to, in order (default staging,production, or all of the project's pipeline)")
	own.StringVar(&f.pipeline, "pipeline", "", "the project's pipeline by `name` (default its only one, or the one called default)")
	own.BoolVar(&f.all, "all", false, "all apps of harmony.yaml")
	own.BoolVarP(&f.quiet, "quiet", "q", false, "show results and failures only")
	own.BoolVar(&f.explain, "explain", false, "explain why an app is rebuilt, or where its image was found")
	own.BoolVar(&f.noCache, "no-cache", false, "rebuild everything, ignoring caches")
	own.Bool(rollbackFlag, true, "roll back to the last good release when a deploy fails; off by default in the topology local")
	f.rollback = own.Lookup(rollbackFlag)
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
		Long: `Release apps: build and publish, deploy to staging, run the smoke checks, deploy
to production, run the smoke checks. Apps go side by side; the next step starts when
all have ended the one before. An app that fails is left out of the steps that follow.
A document of kind Pipeline in harmony.yaml says other steps.

Running it again is safe at any time: what is done is found, and not done twice.`,
		Example: `  harmony release fleet-operator
  harmony release 'fleet-*' --version 1.4.0
  harmony release --from-tag fleet-operator-v1.4.0
  harmony release --all --dry-run

  # from any folder: an app that harmony-fleet, an app plugin on PATH, offers
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
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be done and change nothing, as harmony plan does")
	return cmd
}

// prepare reads the configuration and decides what is released: everything
// that can be wrong with the command line or the project is found here.
func (f *releaseFlags) prepare(ctx context.Context, patterns []string) (pipeline.Release, error) {
	var none pipeline.Release
	if f.output != "auto" && f.output != "json" && f.output != "text" {
		return none, protocol.Invalid("--output %q is not one of auto, json, text", f.output)
	}
	if f.fromTag != "" && (f.source.Version != "" || f.all) {
		return none, protocol.Invalid("--from-tag sets app and version: it cannot be combined with --version or --all")
	}
	tag, patterns, err := f.wanted(patterns)
	if err != nil {
		return none, err
	}
	project, err := f.source.Find(ctx, project.Wanted{Patterns: patterns, Tag: tag})
	if err != nil {
		return none, err
	}
	if patterns, err = f.applyTag(tag, project.Names(), patterns); err != nil {
		return none, err
	}
	apps, err := project.Select(patterns)
	if err != nil {
		return none, err
	}
	topology, err := project.Topology(f.source.Topology, f.source.Getenv)
	if err != nil {
		return none, err
	}
	own, err := project.Pipeline(f.pipeline)
	if err != nil {
		return none, err
	}
	steps, targets, err := pipeline.Steps(own, topology, f.targets)
	if err != nil {
		return none, err
	}
	if err := project.Require(topology, config.Needs{OCIRegistry: true, HelmRegistry: true, Targets: targets}); err != nil {
		return none, err
	}
	if apps, err = f.source.WithVersions(ctx, apps); err != nil {
		return none, err
	}
	finder, err := finderFor(project)
	if err != nil {
		return none, err
	}
	return pipeline.Release{
		Topology: topology, Apps: apps, Steps: steps, Targets: targets,
		Flags:     map[string][]string{capability.StageBuild: f.buildFlags(), capability.StageDeploy: f.deployFlags()},
		Finder:    finder,
		Describer: discovery.Describer{Cache: cachedir.In("describe")},
	}, nil
}

// buildFlags are those that the build stage gets.
func (f *releaseFlags) buildFlags() []string {
	var flags []string
	if f.noCache {
		flags = append(flags, "--no-cache")
	}
	if f.explain {
		flags = append(flags, "--explain")
	}
	return flags
}

// deployFlags are those that the deploy stage gets.
func (f *releaseFlags) deployFlags() []string {
	if !f.rollback.Changed {
		return nil
	}
	return []string{"--" + rollbackFlag + "=" + f.rollback.Value.String()}
}

// wanted is what is released: the tag given, or that of a tag build when the
// arguments leave app and version open, and the names or globs of apps.
func (f *releaseFlags) wanted(patterns []string) (tag string, _ []string, err error) {
	switch {
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
		options.Results = out
		documents = protocol.NewWriter(io.Discard)
	}
	console := term.New(options)
	defer console.Close()
	var written firstError
	console.Columns(release.Apps, release.Targets)
	release.Event = console.Event
	release.Line = func(stage, line string) { console.Line("%s: %s", stage, term.Clean(line)) }
	release.Result = func(s protocol.Spec, stage, target string) {
		console.Result(s, stage, target)
		written.keep(documents.WriteSpec(s))
	}
	release.Failed = func(failure protocol.Failure) {
		console.Failure(failure)
		written.keep(documents.WriteSpec(failure))
	}
	code, err := release.Run(cmd.Context())
	if err == nil {
		err = written.err()
	}
	h.code = code
	if err == nil {
		console.Summary(release.Topology.Name, release.Apps, code, time.Since(began))
	}
	return err
}

// text reports whether results are shown to a person instead of as documents.
func (f *releaseFlags) text(out any) bool {
	return f.output == "text" || f.output == "auto" && term.IsTerminal(out)
}

// firstError keeps the first of several errors.
type firstError struct {
	mu    sync.Mutex
	first error
}

func (f *firstError) keep(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil && err != nil {
		f.first = fmt.Errorf("write to stdout: %w", err)
	}
}

func (f *firstError) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

func (f *releaseFlags) completeApps(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	project, err := f.source.Project()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return project.Names(), cobra.ShellCompDirectiveNoFileComp
}
