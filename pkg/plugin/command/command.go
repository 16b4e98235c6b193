// Package command is the command line of a stage plugin: flags, describe,
// signals, and what a person sees. [Main] is the whole main function of one.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Streams are what a command reads and writes.
type Streams struct {
	// In is stdin: a stream of documents unless it is a terminal or /dev/null.
	In io.Reader
	// Out gets the documents, or what a person asked for.
	Out io.Writer
	// Err gets messages for people.
	Err io.Writer
	// Getenv looks up environment variables.
	Getenv func(string) string
	// Project reads the project's configuration; when it is nil, the harmony on PATH
	// is asked to.
	Project Project
}

// Standard are the streams of the process.
func Standard() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
}

// Option adds something to a plugin's command line.
type Option func(root *cobra.Command)

// Flags adds flags of the plugin's own.
func Flags(bind func(*pflag.FlagSet)) Option {
	return func(root *cobra.Command) { bind(root.Flags()) }
}

// Subcommand adds a command to the stage's. An error of its RunE is printed with
// its hint, and ends the plugin with its exit status.
func Subcommand(c *cobra.Command) Option {
	return func(root *cobra.Command) { root.AddCommand(c) }
}

// Main runs a stage plugin with the arguments, those after the program's name,
// and returns its exit status.
func Main(ctx context.Context, stage plugin.Stage, streams Streams, args []string, options ...Option) int {
	f := newCommandLine(stage, streams)
	root := f.command()
	for _, option := range options {
		option(root)
	}
	began := false
	each(root, func(c *cobra.Command) {
		if run := c.RunE; run != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error {
				began = true
				return run(cmd, args)
			}
		}
	})
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	_, misused := errors.AsType[usageError](err)
	told, isTold := errors.AsType[ended](err)
	switch {
	case isTold:
		return int(told)
	case err != nil && (misused || !began):
		f.usage(err)
		return protocol.ExitInvalid
	case err != nil:
		term.Tell(streams.Err, err)
		return protocol.ExitCode(err)
	}
	return f.code
}

func each(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		each(sub, do)
	}
}

// usageError is an error in the command line that the stage's own command finds;
// cobra finds all others before a command begins.
type usageError struct{ error }

type commandLine struct {
	stage   plugin.Stage
	streams Streams
	project Project

	ask                Ask
	output             string
	dryRun, all, quiet bool
	code               int
}

func newCommandLine(stage plugin.Stage, streams Streams) *commandLine {
	f := &commandLine{stage: stage, streams: streams, project: streams.Project}
	if f.project == nil {
		f.project = installed{}
	}
	return f
}

func (f *commandLine) command() *cobra.Command {
	name := f.stage.PluginName()
	root := &cobra.Command{
		Use:   "harmony-" + name + " [APP...]",
		Short: f.stage.Description,
		Long: f.stage.Description + `.

Documents come from stdin when it is a pipe or a file, else from harmony.yaml in
the current folder or the nearest one above.
` + f.choice() + `

Every document read is written to stdout again, and the results after it, one JSON
document a line.`,
		Example: fmt.Sprintf(`  # one app of harmony.yaml
  harmony %[1]s fleet-operator

  # as a part of a pipe
  harmony build fleet-operator | harmony publish | harmony deploy --target staging | harmony smoke`, name),
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE:              f.runStage,
		ValidArgsFunction: f.completeApps,
	}
	f.bind(root.Flags())
	root.AddCommand(&cobra.Command{
		Use: "describe", Short: "Print what this plugin is and can do, as a PluginInfo document",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info := f.stage.Info(flagsOf(root.Flags()))
			info.Commands = commandsOf(root)
			return protocol.NewWriter(f.streams.Out).WriteSpec(info)
		},
	}, &cobra.Command{
		Use: "version", Short: "Print the version of this plugin", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(f.streams.Out, f.stage.Version)
			return err
		},
	})
	return root
}

func (f *commandLine) runStage(cmd *cobra.Command, apps []string) error {
	if f.output != "auto" && f.output != "json" && f.output != "text" {
		return usageError{fmt.Errorf("--output %q is not one of auto, json, text", f.output)}
	}
	f.code = f.run(cmd.Context(), apps)
	return nil
}

func (f *commandLine) bind(own *pflag.FlagSet) {
	own.StringVarP(&f.ask.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	own.StringVar(&f.ask.Topology, "topology", "", "the topology by `name` (default HARMONY_TOPOLOGY, else ci where CI is set, else local)")
	own.StringVar(&f.ask.Version, "version", "", "the release's semantic `version` (default by git describe)")
	own.StringVar(&f.ask.Target, "target", "", "the `target`, such as staging")
	own.StringVarP(&f.output, "output", "o", "auto", "json, text, or auto: text on a terminal, else json")
	own.BoolVar(&f.dryRun, "dry-run", false, "say what would be done and change nothing")
	own.BoolVar(&f.all, "all", false, "all apps of harmony.yaml")
	own.BoolVarP(&f.quiet, "quiet", "q", false, "show failures only")
}

// usage tells what is wrong with the command line, to a person and to the next
// stage of a pipe.
func (f *commandLine) usage(err error) {
	fmt.Fprintf(f.streams.Err, "error: %s\nSee 'harmony-%s --help'.\n", term.Clean(err.Error()), f.stage.PluginName())
	if term.IsTerminal(f.streams.Out) {
		return
	}
	failure := protocol.FailureOf(protocol.Metadata{}, f.stage.Name, "", protocol.Invalid("%w", err))
	if err := protocol.NewWriter(f.streams.Out).WriteSpec(failure); err != nil {
		fmt.Fprintf(f.streams.Err, "error: %v\n", err)
	}
}

// commandsOf lists the commands that options added, for describe.
func commandsOf(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		switch name := c.Name(); name {
		case "describe", "version", "help", "completion":
		default:
			names = append(names, name)
		}
	}
	return names
}

// flagsOf lists the flags of a command line for describe.
func flagsOf(set *pflag.FlagSet) []protocol.Flag {
	var list []protocol.Flag
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		list = append(list, protocol.Flag{Name: f.Name, Usage: f.Usage, Type: f.Value.Type(), Default: f.DefValue})
	})
	return list
}
