// Package cli has the subcommands of harmony publish that publish nothing:
// check and eject.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/pkg/plugin/command"
)

// subcommand adds c, with the flags of the stage. It also runs where alias says
// so: it was a flag once.
func subcommand(c *cobra.Command, alias func() bool) command.Option {
	add := command.Subcommand(c)
	return func(root *cobra.Command) {
		c.Flags().AddFlagSet(root.Flags())
		add(root)
		run := root.RunE
		root.RunE = func(cmd *cobra.Command, args []string) error {
			if alias() {
				return c.RunE(cmd, args)
			}
			return run(cmd, args)
		}
	}
}

// flag is the value of one, empty where the command has none of that name.
func flag(cmd *cobra.Command, name string) string {
	if f := cmd.Flag(name); f != nil {
		return f.Value.String()
	}
	return ""
}
