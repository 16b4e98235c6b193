package main

import "github.com/spf13/cobra"

func (c *cli) uninstall() *cobra.Command {
	return &cobra.Command{
		Use:               "uninstall",
		Example:           "  harmony plugin uninstall spinnaker",
		Aliases:           []string{"remove"},
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: c.completeInstalled,
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := c.store()
			if err != nil {
				return err
			}
			done := &results{cli: c}
			for _, name := range names {
				result, err := s.Uninstall(cmd.Context(), name)
				if err == nil {
					err = done.add(result)
				}
				if err != nil {
					return done.end(err)
				}
			}
			return done.end(nil)
		},
	}
}
