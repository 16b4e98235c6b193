// Package command is the command line of a stage plugin: flags, describe,
// signals, and what a person sees. [Main] is the whole main function of one.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// Standard are the streams of the process.
func Standard() Streams { return Streams{os.Stdin, os.Stdout, os.Stderr, os.Getenv} }

// Option adds something to a plugin's command line.
type Option func(root *cobra.Command)

// Flags adds flags of the plugin's own.
func Flags(bind func(*pflag.FlagSet)) Option {
	return func(root *cobra.Command) { bind(root.Flags()) }
}

// Subcommand adds a command beside the stage itself. What its RunE returns is
// told with its hint, and ends the plugin with its exit status.
func Subcommand(c *cobra.Command) Option {
	run := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := run(cmd, args); err != nil {
			return &protocol.Error{Code: protocol.ExitCode(err), Hint: protocol.HintOf(err), Err: err}
		}
		return nil
	}
	return func(root *cobra.Command) { root.AddCommand(c) }
}

// Main runs a stage plugin with the arguments, those after the program's name,
// and returns its exit status.
func Main(ctx context.Context, stage plugin.Stage, streams Streams, args []string, options ...Option) int {
	f := &face{stage: stage, streams: streams}
	root := f.command()
	for _, option := range options {
		option(root)
	}
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	var failure *protocol.Error
	switch {
	case errors.As(err, &failure):
		return f.tell(err)
	case err != nil:
		f.usage(err)
		return protocol.ExitInvalid
	}
	return f.code
}

// face is a stage's command line.
type face struct {
	stage   plugin.Stage
	streams Streams
	source  project.Source

	target, output   string
	dryRun, all, mum bool
	code             int
}

func (f *face) command() *cobra.Command {
	name := f.stage.PluginName()
	root := &cobra.Command{
		Use:   "harmony-" + name + " [APP...]",
		Short: f.stage.Description,
		Long: f.stage.Description + `.

Documents come from stdin when it is a pipe or a file, else from harmony.yaml in
the current folder or the nearest one above, for the apps named as arguments
(names or globs). Every document read is written to stdout again, and the results
after it, one JSON document a line.`,
		Example: fmt.Sprintf(`  # one app of harmony.yaml
  harmony %[1]s fleet-operator

  # as a part of a pipe
  harmony build fleet-operator | harmony publish | harmony deploy --target staging | harmony smoke`, name),
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, apps []string) error {
			if f.output != "auto" && f.output != "json" && f.output != "text" {
				return fmt.Errorf("--output %q is not one of auto, json, text", f.output)
			}
			f.code = f.run(cmd.Context(), apps)
			return nil
		},
		ValidArgsFunction: f.completeApps,
	}
	own := root.Flags()
	own.StringVarP(&f.source.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	own.StringVar(&f.source.Topology, "topology", "", "the topology by `name` (default HARMONY_TOPOLOGY, else ci where CI is set, else local)")
	own.StringVar(&f.source.Version, "version", "", "the release's semantic `version` (default by git describe)")
	own.StringVar(&f.target, "target", "", "the `target`, such as staging")
	own.StringVarP(&f.output, "output", "o", "auto", "json, text, or auto: text on a terminal, else json")
	own.BoolVar(&f.dryRun, "dry-run", false, "say what would be done and change nothing")
	own.BoolVar(&f.all, "all", false, "all apps of harmony.yaml")
	own.BoolVarP(&f.mum, "quiet", "q", false, "show failures only")
	f.source.Getenv = f.streams.Getenv
	f.source.Warn = func(text string) { term.Warn(f.streams.Err, text) }
	root.AddCommand(&cobra.Command{
		Use: "describe", Short: "Print what this plugin is and can do, as a PluginInfo document",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return protocol.NewWriter(f.streams.Out).WriteSpec(f.stage.Info(flagsOf(own)))
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

// tell prints the error of a subcommand and returns its exit status.
func (f *face) tell(err error) int {
	fmt.Fprintf(f.streams.Err, "error: %s\n", term.Clean(err.Error()))
	if hint := protocol.HintOf(err); hint != "" {
		fmt.Fprintf(f.streams.Err, "hint: %s\n", term.Clean(hint))
	}
	return protocol.ExitCode(err)
}

// usage tells what is wrong with the command line, to a person and to the next
// stage of a pipe.
func (f *face) usage(err error) {
	fmt.Fprintf(f.streams.Err, "error: %s\nSee 'harmony-%s --help'.\n", term.Clean(err.Error()), f.stage.PluginName())
	if term.IsTerminal(f.streams.Out) {
		return
	}
	failure := protocol.FailureOf(protocol.Metadata{}, f.stage.Name, "", protocol.Invalid("%w", err))
	if err := protocol.NewWriter(f.streams.Out).WriteSpec(failure); err != nil {
		fmt.Fprintf(f.streams.Err, "error: %v\n", err)
	}
}

func (f *face) run(ctx context.Context, apps []string) int {
	if f.all {
		apps = []string{"*"}
	}
	if f.target != "" {
		f.source.Needs.Targets = []string{f.target}
	}
	inv := plugin.Invocation{
		Source: f.source.Documents, Topology: f.source.ConfiguredTopology, Stdout: f.streams.Out,
		Apps: apps, Target: f.target, DryRun: f.dryRun, Cache: cacheFolder(f.streams.Getenv),
	}
	if isStream(f.streams.In) {
		inv.Stdin = f.streams.In
	}
	if events := eventsFile(f.streams.Getenv("HARMONY_EVENTS_FD")); events != nil {
		defer events.Close()
		f.forDispatcher(&inv, events)
	} else {
		console := f.forPerson(&inv)
		defer console.Close()
	}
	return f.stage.Run(ctx, inv)
}

// forDispatcher sends progress to the events channel: the dispatcher shows it,
// and the failures that it reads from stdout.
func (f *face) forDispatcher(inv *plugin.Invocation, events io.Writer) {
	writer := protocol.NewWriter(events)
	inv.Events = func(e protocol.Event) {
		// Progress is for whoever still listens; the work does not depend on it.
		_ = writer.WriteSpec(e)
	}
}

// forPerson shows progress, results and failures on stderr, or the results on
// stdout in the place of documents when they are asked for as text.
func (f *face) forPerson(inv *plugin.Invocation) *term.Console {
	options := term.Options{Err: f.streams.Err, Getenv: f.streams.Getenv, Quiet: f.mum}
	if f.output == "text" || f.output == "auto" && term.IsTerminal(f.streams.Out) {
		inv.Stdout, options.Results = io.Discard, f.streams.Out
	}
	console := term.New(options)
	inv.Events, inv.Failed = console.Event, console.Failure
	inv.Observe = func(d protocol.Document, forwarded bool) {
		if forwarded {
			return
		}
		if result := decodeResult(d); result != nil {
			console.Result(result, f.stage.Name, f.target)
		}
	}
	return console
}

// decodeResult returns the typed result of a stage, or nil for other documents.
func decodeResult(d protocol.Document) protocol.Spec {
	var (
		s   protocol.Spec
		err error
	)
	switch d.Kind {
	case protocol.KindImageRef:
		s, err = protocol.Decode[protocol.ImageRef](d)
	case protocol.KindChartRef:
		s, err = protocol.Decode[protocol.ChartRef](d)
	case protocol.KindDeployResult:
		s, err = protocol.Decode[protocol.DeployResult](d)
	case protocol.KindSmokeReport:
		s, err = protocol.Decode[protocol.SmokeReport](d)
	case protocol.KindFailure:
		return nil // shown as one
	default:
		s = protocol.ResultOf(d)
	}
	if err != nil {
		return nil
	}
	return s
}

// isStream reports whether stdin brings documents: it is a pipe, a socket or a
// file, not a terminal or /dev/null. A reader that is no file is a stream.
func isStream(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return in != nil
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// cacheFolder is $XDG_CACHE_HOME/harmony, or one in the temporary folder for a
// user without a home.
func cacheFolder(getenv func(string) string) string {
	if folder := getenv("XDG_CACHE_HOME"); filepath.IsAbs(folder) {
		return filepath.Join(folder, "harmony")
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		folder = filepath.Join(os.TempDir(), fmt.Sprintf("harmony-%d", os.Getuid()))
	}
	return filepath.Join(folder, "harmony")
}

func (f *face) completeApps(_ *cobra.Command, taken []string, _ string) ([]string, cobra.ShellCompDirective) {
	project, err := f.source.Project()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return project.Names(), cobra.ShellCompDirectiveNoFileComp
}

// eventsFile opens the events channel, or returns nil when there is none.
func eventsFile(number string) *os.File {
	var fd int
	if _, err := fmt.Sscanf(number, "%d", &fd); err != nil || fd < 3 {
		return nil
	}
	if _, err := unixStat(fd); errors.Is(err, syscall.EBADF) {
		return nil
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "events")
}

func unixStat(fd int) (syscall.Stat_t, error) {
	var stat syscall.Stat_t
	err := syscall.Fstat(fd, &stat)
	return stat, err
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
