// Package cli holds the commands of harmony-deploy besides the stage itself:
// adopt, diff, status, rollback, rollout and uninstall.
package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	source "github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Tools are what the commands work with.
type Tools struct {
	// Adapters are those of the stage.
	Adapters plugin.Adapters[capability.ContinuousDelivery]
	// Bind adds the flags of the way to a cluster.
	Bind    func(*pflag.FlagSet)
	Streams command.Streams
}

// Options are the commands, for a stage's command line.
func (t Tools) Options() []command.Option {
	return []command.Option{command.Subcommand(t.diff()), command.Subcommand(t.status()), command.Subcommand(t.rollback()), command.Subcommand(t.uninstall()), command.Subcommand(t.adopt()), command.Subcommand(t.rollout())}
}

// project is the project that the flags of a command name.
type project struct {
	source source.Source
	target string
	output string
}

// register adds the flags that all commands have.
func (t Tools) register(cmd *cobra.Command, p *project) {
	set := cmd.Flags()
	set.StringVarP(&p.source.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	set.StringVar(&p.source.Topology, "topology", "", "the topology by `name` (default HARMONY_TOPOLOGY, else ci where CI is set, else local)")
	set.StringVar(&p.target, "target", "", "the `target`, such as staging")
	p.source.Getenv = t.Streams.Getenv
	p.source.Warn = func(text string) { term.Warn(t.Streams.Err, text) }
	t.Bind(set)
}

func (p *project) registerOutput(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.output, "output", "o", "text", "text or json")
}

func (p *project) checkOutput() error {
	if p.output != "text" && p.output != "json" {
		return protocol.Invalid("--output %q is not one of text, json", p.output)
	}
	return nil
}

// read reads the topology and the named apps, or all of them.
func (p *project) read(ctx context.Context, patterns []string) (protocol.Topology, []protocol.AppSpec, error) {
	loaded, err := p.source.Find(ctx, source.Wanted{Patterns: patterns})
	if err != nil {
		return protocol.Topology{}, nil, err
	}
	topology, err := p.source.TopologyOf(ctx, loaded)
	if err != nil {
		return protocol.Topology{}, nil, err
	}
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	apps, err := loaded.Select(patterns)
	if err != nil {
		return protocol.Topology{}, nil, err
	}
	needs := config.Needs{}
	if p.target != "" {
		needs.Targets = []string{p.target}
	}
	return topology, apps, loaded.Require(topology, needs)
}

// oneTarget is the target named, or the only one.
func (p *project) oneTarget(topology protocol.Topology) (string, error) {
	known := slices.Sorted(maps.Keys(topology.Targets))
	switch {
	case p.target == "" && len(known) == 1:
		return known[0], nil
	case p.target == "":
		return "", protocol.Invalid("no target given").WithHint("name one with --target: %s", strings.Join(known, ", "))
	}
	if _, ok := topology.Targets[p.target]; !ok {
		return "", protocol.Unsupported("topology %q has no target %q (has %s)", topology.Name, p.target, strings.Join(known, ", "))
	}
	return p.target, nil
}

// open makes the adapter that the topology names, or the one named here, with what
// else stands in env.
func (t Tools) open(ctx context.Context, topology protocol.Topology, name string, env capability.Environment) (delivery.Adapter, error) {
	provider := topology.ContinuousDelivery
	if provider == nil {
		return nil, protocol.Unsupported("topology %q has no %s", topology.Name, capability.NameContinuousDelivery)
	}
	own := *provider
	if name != own.Adapter {
		own = protocol.Provider{Adapter: name}
	}
	adapter, ok := t.Adapters[own.Adapter]
	if !ok {
		return nil, protocol.Unsupported("topology %q: %s adapter %q is not one of this plugin (has %s)", topology.Name, capability.NameContinuousDelivery,
			own.Adapter, strings.Join(slices.Sorted(maps.Keys(t.Adapters)), ", "))
	}
	env.Topology, env.Provider = topology, own
	opened, err := adapter(ctx, env)
	return delivery.Of(own.Adapter, opened), err
}

// delivers refuses a topology that delivers by a third party's plugin, whose adapters
// are not known here even if one has a known name.
func delivers(topology protocol.Topology, command string) error {
	d := topology.ContinuousDelivery
	if d == nil || d.Plugin == "" || d.Plugin == discovery.Prefix+capability.StageDeploy {
		return nil
	}
	return protocol.Unsupported("topology %q delivers by the plugin %s, and this command knows the adapters of harmony-deploy only", topology.Name, d.Plugin).
		WithHint("a plugin that has the command lists it in %[1]s describe, and is asked with %[1]s %[2]s", d.Plugin, command)
}

func adapterOf(topology protocol.Topology) string {
	if topology.ContinuousDelivery == nil {
		return ""
	}
	return topology.ContinuousDelivery.Adapter
}

// console shows progress to a person, under the stage's name.
func (t Tools) console() (*term.Console, func(target string) func(protocol.Event)) {
	c := term.New(term.Options{Err: t.Streams.Err, Getenv: t.Streams.Getenv})
	return c, func(target string) func(protocol.Event) {
		return func(e protocol.Event) {
			e.Stage, e.Target = capability.StageDeploy, target
			c.Event(e)
		}
	}
}

func (t Tools) rollback() *cobra.Command {
	p := &project{}
	var to string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rollback APP",
		Short: "Roll an app back to an earlier release",
		Long: `Roll an app back to an earlier release on a target: to the last healthy one that
is not running now, or to a version in the target's history. harmony waits for it
and proves it as after a deploy. It is not an error if that version already runs.`,
		Example: "  harmony rollback fleet-operator --target production\n  harmony rollback fleet-operator --target production --to 1.3.2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.checkOutput(); err != nil {
				return err
			}
			return t.runRollback(cmd.Context(), p, args[0], to, dryRun)
		},
	}
	t.register(cmd, p)
	p.registerOutput(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the `version` to go back to (default: the last healthy one before)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be done, and change nothing")
	return cmd
}

func (t Tools) runRollback(ctx context.Context, p *project, name, to string, dryRun bool) error {
	topology, apps, err := p.read(ctx, []string{name})
	if err != nil {
		return err
	}
	if len(apps) != 1 {
		return protocol.Invalid("%q names %d apps: roll back one at a time", name, len(apps))
	}
	target, err := p.oneTarget(topology)
	if err != nil {
		return err
	}
	if err := delivers(topology, "rollback"); err != nil {
		return err
	}
	console, progress := t.console()
	defer console.Close()
	adapter, err := t.open(ctx, topology, adapterOf(topology), capability.Environment{DryRun: dryRun, Progress: progress(target)})
	if err != nil {
		return err
	}
	result, err := adapter.Rollback(ctx, apps[0], target, to)
	if err != nil {
		return err
	}
	return t.printResult(p.output, target, result)
}

// printResult prints the result of a deploy.
func (t Tools) printResult(output, target string, r protocol.DeployResult) error {
	if output == "json" {
		return protocol.NewWriter(t.Streams.Out).WriteSpec(r)
	}
	_, err := fmt.Fprintf(t.Streams.Out, "%s %s on %s: %s\n", r.Name, r.Version, target, term.Describe(r))
	return err
}
