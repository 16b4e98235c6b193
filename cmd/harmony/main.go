// Command harmony releases applications to Kubernetes. It finds the plugins that carry
// out the stages, runs whole releases, and passes every other command to the plugin of
// that name.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) > 0 {
		if isPlugin(args[0]) {
			return tell(dispatch(args[0], args[1:]))
		}
		if stage := provider(args[0]); stage != "" {
			return tell(dispatch(stage, args))
		}
	}
	if asked, ok := completesManaging(args); ok {
		return tell(manage(asked))
	}
	ctx, stop := signals.Context(context.Background())
	defer stop()
	h := &harmony{}
	root := h.command()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !h.began && protocol.ExitCode(err) == protocol.ExitFailed { // cobra's own, such as an unexpected argument
		err = protocol.Invalid("%w", err).WithHint("see '%s --help'", cmd.CommandPath())
	}
	if err != nil {
		return tell(err)
	}
	return h.code
}

// isPlugin reports whether the first argument is a plugin's name: neither a flag nor a
// command of harmony or of its completion.
func isPlugin(arg string) bool {
	return !strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "__complete") && !slices.Contains(suite.BuiltIn(), arg)
}

// tell prints an error with its hint and returns its exit status.
func tell(err error) int {
	if err == nil {
		return protocol.ExitOK
	}
	term.Tell(os.Stderr, err)
	return protocol.ExitCode(err)
}

// harmony is the dispatcher's command line.
type harmony struct {
	// began is set once the command line is valid, and a command runs.
	began bool
	code  int
}

func (h *harmony) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "harmony",
		Short: "Release applications to Kubernetes",
		Long: `harmony releases applications to Kubernetes: build and publish, deploy to staging, smoke
checks, deploy to production, smoke checks. The same command runs on a laptop and in CI;
the topology selects the tools.

Every other command is a plugin: 'harmony build' runs the first harmony-build on PATH.`,
		Example: `  # write a harmony.yaml for the project in this folder
  harmony init

  # a whole release, by a tag such as fleet-operator-v1.4.0
  harmony release fleet-operator --from-tag fleet-operator-v1.4.0

  # show what that would do
  harmony plan fleet-operator

  # the same in single steps
  harmony build fleet-operator | harmony publish | harmony deploy --target staging | harmony smoke`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRun: func(*cobra.Command, []string) { h.began = true },
	}
	root.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault // the arguments of a plugin
		}
		return pluginNames(), cobra.ShellCompDirectiveNoFileComp
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return protocol.Invalid("%w", err).WithHint("see '%s --help'", cmd.CommandPath())
	})
	root.AddCommand(initialize(), h.release(), h.plan(), h.plugin(), h.version())
	for stage, commands := range provided {
		root.AddCommand(delegated(commands, func(args []string) error { return dispatch(stage, args) })...)
	}
	root.InitDefaultHelpCmd()
	root.SetUsageTemplate(root.UsageTemplate() + `{{if not .HasParent}}
Plugins on PATH:
{{range plugins}}  {{.}}
{{else}}  none
{{end}}{{end}}`)
	cobra.AddTemplateFunc("plugins", pluginNames)
	return root
}

// pluginNames lists the plugins for help and completion, without running them.
func pluginNames() []string {
	var names []string
	for _, p := range finder().List() {
		if p.Shadowed == "" && p.Refused == "" {
			names = append(names, p.Name)
		}
	}
	return names
}

// finder finds the plugin of a command.
func finder() discovery.Finder { return lock.Command(os.Getenv("PATH")) }

func (h *harmony) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "harmony %s (protocol %d to %d, %s, %s/%s)\n",
				suite.Version(), protocol.ProtocolMin, protocol.ProtocolMax, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
