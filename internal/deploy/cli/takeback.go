package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TakeBack is the command by which harmony release goes back from a deploy whose
// smoke checks failed. bind adds the flags of the way to a cluster.
func TakeBack(stage plugin.Stage, streams command.Streams, bind func(*pflag.FlagSet)) command.Option {
	return command.StageCommand(protocol.CommandTakeBack, stage, streams, command.Flags(bind), func(c *cobra.Command) {
		c.Short = "Bring back what ran before a deploy, by its result on stdin"
		c.Long = `Bring back what ran on a target before a deploy, and prove it as after a deploy.
harmony release does this when a smoke check fails.

stdin has the documents of the deploy: Topology, AppSpec, DeployResult. It is refused,
with status 3 and nothing changed, if something else runs by now than what that deploy
brought, or if its result does not tell what ran before.`
		c.Example = `  harmony deploy --target staging <released.ndjson >deployed.ndjson
  harmony smoke <deployed.ndjson || harmony deploy take-back --target staging <deployed.ndjson`
	})
}
