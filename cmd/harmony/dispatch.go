package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ofStage maps commands of harmony that a stage's plugin carries out to the
// plugin's name: harmony status is harmony-deploy status.
func ofStage(command string) (plugin string, ok bool) {
	switch command {
	case "diff", "rollback", "status":
		return "deploy", true
	}
	return "", false
}

// borrowed are the commands of ofStage, for help and completion.
func borrowed() []*cobra.Command {
	var list []*cobra.Command
	for _, c := range []struct{ use, short string }{
		{"diff [APP...]", "Show what a deploy would change on the cluster"},
		{"rollback APP", "Roll an app back to an earlier release"},
		{"status [APP...]", "Show what runs where"},
	} {
		name, _, _ := strings.Cut(c.use, " ")
		list = append(list, &cobra.Command{
			Use: c.use, Short: c.short, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return dispatchTo(name, args) },
		})
	}
	return list
}

// dispatchTo runs a command of harmony by the plugin that carries it out.
func dispatchTo(command string, args []string) error {
	plugin, _ := ofStage(command)
	return dispatch(plugin, append([]string{command}, args...))
}

// dispatch replaces this process by the plugin's: its signals and its exit
// status are then the plugin's own. It returns only when that fails.
func dispatch(name string, args []string) error {
	f := finder()
	plugin, err := f.Find(name)
	if err != nil {
		return err
	}
	if err := os.Setenv("PATH", f.SearchPath()); err != nil {
		return err
	}
	return become(plugin, args)
}

// become replaces this process by the plugin's. Nobody but root and the caller can
// change where its path leads, so what was checked is what runs.
func become(plugin discovery.Plugin, args []string) error {
	err := syscall.Exec(plugin.Path, append([]string{plugin.Path}, args...), os.Environ())
	return protocol.Unsupported("run %s: %w", plugin.Path, err)
}

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

// finderFor finds the plugins of a project's stages. Where the project has a lock
// file, what differs from it is refused; so do the stages with what they start.
func finderFor(project *config.Project) (discovery.Finder, error) {
	f := suite.Finder(os.Getenv("PATH"))
	check, found, err := lock.Of(project.Root)
	if err != nil {
		return f, err
	}
	if found {
		f = check.Finder(f)
		f.Admit = check.Plugin
	}
	if err := os.Setenv("PATH", f.SearchPath()); err != nil {
		return f, err
	}
	return f, os.Setenv(lock.EnvFile, filepath.Join(project.Root, lock.FileName))
}
