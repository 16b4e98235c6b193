package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Migrate is the command that runs the migrations of apps before a deploy. bind adds the
// flags of a deploy.
func Migrate(stage plugin.Stage, streams command.Streams, bind func(*pflag.FlagSet)) command.Option {
	return command.StageCommand(protocol.CommandMigrate, stage, streams, command.Flags(bind), func(c *cobra.Command) {
		c.Short = "Run the migrations of apps on a target, before a deploy"
		c.Long = `Run the migrations of apps on a target: each is a Job with the new image, in the target's
namespace, and runs once for a version and target. harmony release does this in the step
migrate.

stdin has the documents that a deploy gets, and stdout has them again with a
MigrationReport after them. A migration that fails ends the command with status 1; what
comes after it in a pipe deploys nothing, and the next run tries it again. One that a
killed or interrupted run has started is waited for, not started twice.`
		c.Example = `  harmony build shop | harmony publish | harmony deploy migrate --target staging | harmony deploy --target staging
  harmony publish <built.ndjson | harmony deploy migrate --target staging --dry-run -o text`
	})
}
