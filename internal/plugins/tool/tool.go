// Package tool runs the binaries of the suite that are not stages.
package tool

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Run runs a command line and returns its exit status: protocol.ExitInvalid if the
// command line is not valid. The error silent, of status protocol.ExitFailed, is one that
// the command has reported itself.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer, silent error) int {
	started := false
	before := root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if before != nil {
			if err := before(cmd, args); err != nil {
				return err
			}
		}
		started = true
		return nil
	}
	root.SilenceErrors, root.SilenceUsage, root.CompletionOptions.HiddenDefaultCmd = true, true, true
	root.Version = suite.Version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(version())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return protocol.ExitOK
	case errors.Is(err, silent):
		return protocol.ExitFailed
	}
	term.Tell(stderr, err)
	if !started {
		return protocol.ExitInvalid
	}
	return protocol.ExitCode(err)
}

func version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), suite.Version())
			return err
		},
	}
}
