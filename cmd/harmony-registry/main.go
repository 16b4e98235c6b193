// Command harmony-registry runs a local OCI registry. The topology local pushes images
// to it when the cluster cannot import them directly.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/plugins/tool"
	"github.com/nationtech/harmony/internal/registry/server"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the command and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &cli{stdout: stdout, stderr: stderr}
	return tool.Run(ctx, c.command(), args, stdout, stderr, errNotRunning)
}

// cli is the command line.
type cli struct {
	stdout, stderr io.Writer
	options        server.Options
	state          string
	output         string
	folder         server.Folder
}

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "harmony-registry",
		Short: "Run a local OCI registry",
		Long: `A durable OCI registry on this machine, for the images of the topology local.

It has no accounts, and therefore listens only on the loopback interface by default. Its
storage and its log are in the user's state folder.`,
		Example: `  # start it in the background, unless it is already running
  harmony registry up

  # show its address and the size of its storage
  harmony registry status

  # stop it; its storage stays
  harmony registry down`,
	}
	root.PersistentFlags().StringVar(&c.state, "state", "", "the `folder` of storage, log and lock (default $XDG_STATE_HOME/harmony/registry)")
	root.AddCommand(c.up(), c.down(), c.status(), c.serve(), c.describe())
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

func (c *cli) serve() *cobra.Command {
	return c.listening(c.subcommand("serve", "Run the registry in the foreground", func(ctx context.Context) error {
		c.warn()
		return server.Serve(ctx, c.folder, c.options, c.stderr)
	}))
}

func (c *cli) up() *cobra.Command {
	return c.listening(c.subcommand("up", "Start the registry in the background, unless it is running", func(ctx context.Context) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c.warn()
		status, err := server.Up(ctx, c.folder, c.options, self, "serve")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "registry at %s, process %d, storage in %s\n", status.Address, status.PID, status.Data)
		return err
	}))
}

func (c *cli) down() *cobra.Command {
	return c.subcommand("down", "Stop the registry; its storage stays", func(ctx context.Context) error {
		pid, err := server.Down(ctx, c.folder)
		if err != nil {
			return err
		}
		done := "registry is not running"
		if pid != 0 {
			done = fmt.Sprintf("registry stopped, process %d", pid)
		}
		_, err = fmt.Fprintln(c.stdout, done)
		return err
	})
}

func (c *cli) warn() {
	if c.options.AllowRemote {
		fmt.Fprintln(c.stderr, "warning: the registry has no accounts: anyone who can reach it can push and delete")
	}
}

// errNotRunning ends status, which has reported it.
var errNotRunning = errors.New("registry is not running")

func (c *cli) status() *cobra.Command {
	cmd := c.subcommand("status", "Show whether the registry is running; exit status 1 if it is not", func(context.Context) error {
		if c.output != "text" && c.output != "json" {
			return protocol.Invalid("--output %q is not one of text, json", c.output)
		}
		status, err := server.Look(c.folder)
		if err != nil {
			return err
		}
		if err := status.Measure(); err != nil {
			return err
		}
		if err := c.print(status); err != nil {
			return err
		}
		if !status.Running {
			return errNotRunning
		}
		return nil
	})
	cmd.Flags().StringVarP(&c.output, "output", "o", "text", "json or text")
	return cmd
}

func (c *cli) print(status server.Status) error {
	if c.output == "json" {
		return json.NewEncoder(c.stdout).Encode(status)
	}
	state := "registry is not running"
	if status.Running {
		state = fmt.Sprintf("registry at %s, process %d", status.Address, status.PID)
	}
	_, err := fmt.Fprintf(c.stdout, "%s, %s in %s\n", state, term.Bytes(status.DataBytes), status.Data)
	return err
}

func (c *cli) describe() *cobra.Command {
	return &cobra.Command{
		Use: "describe", Short: "Print the description of this plugin, a PluginInfo document", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return protocol.NewWriter(c.stdout).WriteSpec(protocol.PluginInfo{
				Metadata:    protocol.Metadata{Name: "registry", Version: suite.Version()},
				Protocol:    protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax},
				Description: "Run a local OCI registry",
				Flags:       []protocol.Flag{{Name: "state", Usage: "the folder of storage, log and lock", Type: "string"}},
			})
		},
	}
}
