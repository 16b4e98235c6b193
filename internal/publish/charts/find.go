package charts

import (
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Plugin is the name of the plugin that makes charts, without its prefix.
const Plugin = "chart"

// Find finds harmony-chart: beside this binary, else, where the two were
// installed one by one, on PATH.
func Find() (discovery.Plugin, error) {
	plugin, err := lock.Finder(os.Getenv("PATH")).Find(Plugin)
	if err == nil {
		return plugin, nil
	}
	if _, missing := suite.Sibling(Plugin); missing != nil {
		return plugin, protocol.Unsupported("%w", missing).WithHint("%s; or: harmony plugin install %s --replace-suite", protocol.HintOf(missing), Plugin)
	}
	return plugin, err
}

// Prune is the command that harmony-chart carries out: it asks clusters, whose
// libraries start slowly too.
func Prune() *cobra.Command {
	cmd := &cobra.Command{
		Use: "prune [APP...]", Short: "Remove old development versions that nothing uses", DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return become(append([]string{"prune"}, args...)) },
	}
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { // harmony publish help prune
		cmd.PrintErrln("error:", become([]string{"prune", "--help"}))
	})
	return cmd
}

// become replaces this process by harmony-chart with the arguments. It returns
// only when that fails.
func become(args []string) error {
	plugin, err := Find()
	if err != nil {
		return err
	}
	err = syscall.Exec(plugin.Path, append([]string{plugin.Path}, args...), os.Environ())
	return protocol.Unsupported("run %s: %w", plugin.Path, err)
}
