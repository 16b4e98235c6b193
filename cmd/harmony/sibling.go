package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// sibling is the suite's own binary that carries out the commands of harmony
// plugin which need a network, archives and so on. It lies beside harmony; one
// that comes earlier on PATH is never taken for it.
const sibling = "plugin"

// managing are the commands that the sibling carries out, for help.
func managing() []*cobra.Command {
	var list []*cobra.Command
	for _, c := range []struct{ use, short string }{
		{"search [WORD...]", "List the plugins that the indexes offer"},
		{"info NAME[@VERSION]", "Show what an index says of a plugin"},
		{"install NAME[@VERSION]...", "Install plugins from an index"},
		{"upgrade [NAME...]", "Bring installed plugins to the newest version"},
		{"uninstall NAME...", "Remove installed plugins, with all their versions"},
		{"rollback NAME", "Go back to the version before"},
		{"lock", "Pin the project's plugins in harmony-plugins.lock"},
		{"sync", "Install exactly what harmony-plugins.lock pins"},
		{"index", "Configure the indexes in which plugins are looked for"},
		{"doctor", "Look for what is wrong with PATH, plugins and the lock file"},
		{"new NAME", "Write a plugin that keeps the contract, to begin with"},
	} {
		name, _, _ := strings.Cut(c.use, " ")
		cmd := &cobra.Command{
			Use: c.use, Short: c.short, DisableFlagParsing: true,
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
	err = syscall.Exec(found.Path, append([]string{found.Path}, args...), os.Environ())
	return protocol.Unsupported("run %s: %w", found.Path, err)
}
