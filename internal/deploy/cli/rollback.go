package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollbacker is an adapter that can bring an app back to an earlier release: to
// the version given, or to the one before when it is empty.
type rollbacker interface {
	Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error)
}

func (t Tools) rollback() *cobra.Command {
	p := &project{}
	var to string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rollback APP",
		Short: "Bring an app back to an earlier release",
		Long: `Bring an app back to an earlier release on a target: to the last healthy one that
is not what runs, or to a version that the target's history holds. It is waited for
and proven as a deploy is. The app's version running already is no error.`,
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
	cmd.Flags().StringVar(&to, "to", "", "the `version` to go back to (default the last healthy one before)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done and change nothing")
	return cmd
}

func (t Tools) runRollback(ctx context.Context, p *project, name, to string, dryRun bool) error {
	topology, apps, err := p.read(ctx, []string{name})
	if err != nil {
		return err
	}
	if len(apps) != 1 {
		return protocol.Invalid("%q names %d apps: one at a time is brought back", name, len(apps))
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
	r, ok := adapter.(rollbacker)
	if !ok {
		return protocol.Unsupported("adapter %q has no rollback of its own", adapterOf(topology)).
			WithHint("release the earlier version again: harmony release %s --version …", name)
	}
	result, err := r.Rollback(ctx, apps[0], target, to)
	if err != nil {
		return err
	}
	if p.output == "json" {
		return protocol.NewWriter(t.Streams.Out).WriteSpec(result)
	}
	_, err = fmt.Fprintf(t.Streams.Out, "%s %s on %s: %s\n", result.Name, result.Version, target, term.Describe(result))
	return err
}
