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

// provided are the commands of harmony that a stage of the suite carries out: harmony
// status is harmony deploy status.
var provided = map[string][]suite.Command{
	"build": {
		{Use: "affected [APP...]", Short: "Show which apps changed since a commit"},
		{Use: "changelog APP", Short: "List the commits that changed an app between two releases"},
	},
	"chart": {
		{Use: "lock [APP...]", Short: "Pin the charts of others that apps name"},
	},
	"deploy": {
		{Use: "adopt APP...", Short: "Take over apps that somebody else deployed, or give them back"},
		{Use: "diff [APP...]", Short: "Show what a deploy would change on the cluster"},
		{Use: "rollback APP", Short: "Roll an app back to an earlier release"},
		{Use: "rollout status|resume|pause|abort APP", Short: "Show, hold, continue or end a rollout to several clusters"},
		{Use: "status [APP...]", Short: "Show which version of an app runs where"},
		{Use: "uninstall APP...", Short: "Remove apps from a target"},
	},
}

// provider is the stage that carries out a command, or "".
func provider(name string) string {
	for stage, commands := range provided {
		if slices.ContainsFunc(commands, func(c suite.Command) bool { return strings.HasPrefix(c.Use, name+" ") }) {
			return stage
		}
	}
	return ""
}

// delegated are commands that another program carries out, for help and completion.
func delegated(commands []suite.Command, run func(args []string) error) []*cobra.Command {
	var list []*cobra.Command
	for _, c := range commands {
		var verbs []string // rollout status|resume|pause|abort APP
		if _, args, _ := strings.Cut(c.Use, " "); strings.Contains(args, "|") {
			verbs = strings.Split(strings.Fields(args)[0], "|")
		}
		list = append(list, &cobra.Command{
			Use: c.Use, Short: c.Short, DisableFlagParsing: true, ValidArgs: verbs,
			RunE: func(cmd *cobra.Command, args []string) error { return run(append([]string{cmd.Name()}, args...)) },
		})
	}
	return list
}

// dispatch replaces this process with the plugin's, and so its signals and exit status
// with the plugin's. It returns only after an error.
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

// become replaces this process with the plugin's. Only root and the caller can change
// where its path leads, so the plugin that was checked is the one that runs.
func become(plugin discovery.Plugin, args []string) error {
	err := syscall.Exec(plugin.Path, append([]string{plugin.Path}, args...), os.Environ())
	return protocol.Unsupported("run %s: %w", plugin.Path, err)
}

// sibling is the suite's own binary that carries out the commands of harmony plugin
// that need a network, archives and so on. It is next to harmony, whatever comes first
// on PATH.
const sibling = "plugin"

// managing are the commands that the sibling carries out, for help.
func managing() []*cobra.Command {
	list := delegated(suite.PluginCommands(), manage)
	for _, c := range list {
		c.SetHelpFunc(func(cmd *cobra.Command, _ []string) { // harmony help plugin NAME
			cmd.PrintErrln("error:", manage([]string{c.Name(), "--help"}))
		})
	}
	return list
}

// completesManaging reports whether a shell asks for the completion of such a command,
// and returns the arguments for the sibling.
func completesManaging(args []string) ([]string, bool) {
	if len(args) < 4 || !strings.HasPrefix(args[0], "__complete") || args[1] != "plugin" {
		return nil, false
	}
	ours := slices.ContainsFunc(managing(), func(c *cobra.Command) bool { return c.Name() == args[2] })
	return append([]string{args[0]}, args[2:]...), ours
}

// isSibling reports whether a plugin is that binary.
func isSibling(p discovery.Plugin) bool {
	return p.Name == sibling && filepath.Dir(p.Path) == suite.Folder()
}

// manage replaces this process with the sibling's. It returns only after an error.
func manage(args []string) error {
	found, err := suite.Sibling(sibling)
	if err != nil {
		return err
	}
	return become(found, args)
}

// finderFor finds the plugins of a project's stages. If the project has a lock file,
// plugins that differ from it are refused, also by the stages themselves.
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
