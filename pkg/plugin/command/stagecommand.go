package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// StageCommand adds a command that is a stage of its own, with a stage's flags and
// streams, such as [protocol.CommandTakeBack] of a deploy plugin. The options are those
// of this command alone.
func StageCommand(name string, stage plugin.Stage, streams Streams, options ...Option) Option {
	return func(root *cobra.Command) {
		f := newCommandLine(stage, streams)
		c := f.command()
		c.RemoveCommand(c.Commands()...)
		c.Use, c.Example = name+" [APP...]", ""
		for _, option := range options {
			option(c)
		}
		c.RunE = func(cmd *cobra.Command, apps []string) error {
			if err := f.runStage(cmd, apps); err != nil || f.code == protocol.ExitOK {
				return err
			}
			return ended(f.code)
		}
		root.AddCommand(c)
	}
}

// ended is the exit status of a stage that has told its failures itself.
type ended int

func (e ended) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
