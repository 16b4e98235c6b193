package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) describe() *cobra.Command {
	return &cobra.Command{
		Use: "describe", Short: "Print what this plugin is, as a PluginInfo document", Args: cobra.NoArgs,
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

func (c *cli) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this plugin", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.stdout, suite.Version())
			return err
		},
	}
}
