package main

import (
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/discovery"
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
