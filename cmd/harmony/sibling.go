package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/suite"
)

// sibling is the suite's own binary that carries out the commands of harmony
// plugin which need a network, archives and so on. It lies beside harmony; one
// that comes earlier on PATH is never taken for it.
const sibling = "plugin"

// managing are the commands that the sibling carries out, for help.
func managing() []*cobra.Command {
	var list []*cobra.Command
	for _, c := range suite.PluginCommands() {
		name, _, _ := strings.Cut(c.Use, " ")
		cmd := &cobra.Command{
			Use: c.Use, Short: c.Short, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return manage(append([]string{name}, args...)) },
		}
		cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { // harmony help plugin NAME
			cmd.PrintErrln("error:", manage([]string{name, "--help"}))
		})
		list = append(list, cmd)
	}
	return list
}

// completesManaging reports whether a shell asks for the completion of such a
// command, and returns the arguments with which the sibling answers.
func completesManaging(args []string) ([]string, bool) {
	if len(args) < 4 || !strings.HasPrefix(args[0], "__complete") || args[1] != "plugin" {
		return nil, false
	}
	ours := slices.ContainsFunc(managing(), func(c *cobra.Command) bool { return c.Name() == args[2] })
	return append([]string{args[0]}, args[2:]...), ours
}

// isSibling reports whether a plugin is that very binary.
func isSibling(p discovery.Plugin) bool {
	return p.Name == sibling && filepath.Dir(p.Path) == suite.Folder()
}

// manage replaces this process by the sibling's. It returns only when that
// fails.
func manage(args []string) error {
	found, err := suite.Sibling(sibling)
	if err != nil {
		return err
	}
	return become(found, args)
}
