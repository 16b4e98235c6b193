// Command harmony-registry runs a local OCI registry, in which the topology
// local keeps its images when the cluster cannot take them directly.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/registry/server"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command with its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &cli{stdout: stdout, stderr: stderr}
	root := c.command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return protocol.ExitOK
	case errors.Is(err, errNotRunning): // told on stdout
		return protocol.ExitFailed
	}
	term.Tell(stderr, err)
	if !c.started {
		return protocol.ExitInvalid
	}
	return protocol.ExitCode(err)
}

// cli is the command line.
type cli struct {
	stdout, stderr io.Writer
	options        server.Options
	state          string
	output         string
	folder         server.Folder
	// started is true once the command line was found right.
	started bool
}

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "harmony-registry",
		Short: "Run a local OCI registry",
		Long: `A durable OCI registry for this machine, in which the topology local keeps images.

It listens on the loopback only unless told otherwise, for it knows no accounts.
Its storage and its log are in the user's state folder.`,
		Example: `  # start it in the background; again does nothing
  harmony registry up

  # see where it is and how much it holds
  harmony registry status

  # end it; its storage stays
  harmony registry down`,
		Version:       suite.Version(),
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { c.started = true },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVar(&c.state, "state", "", "the `folder` of storage, log and lock (default $XDG_STATE_HOME/harmony/registry)")
	root.AddCommand(c.up(), c.down(), c.status(), c.serve(), c.describe(), c.version())
	return root
}

// subcommand is a command without arguments, on the state folder.
func (c *cli) subcommand(name, short string, do func(ctx context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.folder, err = c.stateFolder(); err != nil {
				return err
			}
			return do(cmd.Context())
		},
	}
}

func (c *cli) stateFolder() (server.Folder, error) {
	if c.state == "" {
		return server.DefaultFolder()
	}
	absolute, err := filepath.Abs(c.state)
	return server.Folder(absolute), err
}

// listening adds the flags that say where to listen.
func (c *cli) listening(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.options.Address, "addr", "", "the `address` to listen at, host:port (default "+server.DefaultAddress+")")
	cmd.Flags().BoolVar(&c.options.AllowRemote, "allow-remote", false, "permit an address that other machines can reach")
	return cmd
}
