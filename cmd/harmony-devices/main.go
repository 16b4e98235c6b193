// Command harmony-devices is for those who set edge devices up: it tells what a device is to
// follow, and takes reports of devices that may not push to a registry.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/plugins/tool"
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
	return tool.Run(ctx, c.command(), args, stdout, stderr, nil)
}

// cli is the command line.
type cli struct{ stdout, stderr io.Writer }

const short = "Register edge devices, and collect their reports"

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use: "harmony-devices", Short: short,
		Long: short + `.

What a device follows and how it reports is in docs/edge-devices.md.`,
		Example: `  # what the device shop-7 is to follow
  harmony devices register shop-7 --target shops

  # take reports by HTTP from devices with a certificate of your authority
  harmony devices serve --cert collector.crt --key collector.key --client-ca devices-ca.crt \
    --reports registry.example.com/edge-reports`,
	}
	root.AddCommand(c.register(), c.serve(), c.describe())
	return root
}

func (c *cli) describe() *cobra.Command {
	return &cobra.Command{
		Use: "describe", Short: "Print the description of this plugin, a PluginInfo document", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return protocol.NewWriter(c.stdout).WriteSpec(protocol.PluginInfo{
				Metadata:    protocol.Metadata{Name: "devices", Version: suite.Version()},
				Protocol:    protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax},
				Description: short,
			})
		},
	}
}
