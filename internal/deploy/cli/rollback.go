package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (t Tools) rollback() *cobra.Command {
	p := &project{}
	var to string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rollback APP",
		Short: "Roll an app back to an earlier release",
		Long: `Roll an app back to an earlier release on a target: to the last healthy one that
is not running now, or to a version in the target's history. harmony waits for it
and proves it as after a deploy. It is no error when that version runs already.`,
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
	console, progress := t.console()
	defer console.Close()
	adapter, err := t.open(ctx, topology, adapterOf(topology), dryRun, progress(target))
	if err != nil {
		return err
	}
	result, err := adapter.Rollback(ctx, apps[0], target, to)
	if err != nil {
		return err
	}
	if p.output == "json" {
		return protocol.NewWriter(t.Streams.Out).WriteSpec(result)
	}
	_, err = fmt.Fprintf(t.Streams.Out, "%s %s on %s: %s\n", result.Name, result.Version, target, term.Describe(result))
	return err
}
