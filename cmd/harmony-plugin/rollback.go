package main

import "github.com/spf13/cobra"

func (c *cli) rollback() *cobra.Command {
	return &cobra.Command{
		Use: "rollback",
		Long: `Go back to the version of a plugin that was run before the last install or upgrade. It
is still there: nothing is downloaded.`,
		Example:           "  harmony plugin rollback spinnaker",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeInstalled,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.store()
			if err != nil {
				return err
			}
			result, err := s.Rollback(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			done := &results{cli: c}
			return done.end(done.add(result))
		},
	}
}
