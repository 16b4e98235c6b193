package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (h *harmony) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "harmony %s (protocol %d to %d, %s, %s/%s)\n",
				suite.Version(), protocol.ProtocolMin, protocol.ProtocolMax, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
