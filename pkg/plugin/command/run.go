package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// patience is how long a stage that was named apps waits for the first document of
// the stage before it: one writes what it has read at once. CI systems leave a
// pipe as stdin to which nobody writes.
const patience = 5 * time.Second

// begins reports whether the stage can begin with what the project has: it needs
// and waits for nothing that another stage makes.
func (f *commandLine) begins() bool {
	return len(f.stage.Awaits) == 0 && !slices.ContainsFunc(f.stage.Needs, func(k protocol.Kind) bool { return k != protocol.KindAppSpec })
}

// choice says in the help which of the two sources is taken.
func (f *commandLine) choice() string {
	if f.begins() {
		return "With apps (names or globs), --all or --file it is harmony.yaml, whatever stdin is."
	}
	return "Arguments (names or globs) say which apps to work on."
}

func (f *commandLine) run(ctx context.Context, apps []string) int {
	if f.all {
		apps = []string{"*"}
	}
	inv := plugin.Invocation{
		Stdout: f.streams.Out, Apps: apps, Target: f.ask.Target, DryRun: f.dryRun, Vet: f.vet,
		Topology: func(ctx context.Context) (protocol.Topology, error) { return f.project.Topology(ctx, f.ask) },
	}
	events := eventsFile(f.streams.Getenv("HARMONY_EVENTS_FD"))
	f.choose(&inv, events != nil)
	if events != nil {
		defer events.Close()
		f.forDispatcher(&inv, events)
	} else {
		console := f.forPerson(&inv)
		defer console.Close()
	}
	var err error
	if inv.Cache, err = cachedir.Folder(f.streams.Getenv); err != nil {
		term.Tell(f.streams.Err, &protocol.Error{Code: protocol.ExitFailed, Message: "no folder for caches", Err: err, Hint: "set XDG_CACHE_HOME to a folder of your own"})
		return protocol.ExitFailed
	}
	return f.stage.Run(ctx, inv)
}

// choose decides between stdin and the project. Who names apps or a file means
// the project; a stage that works on what others made takes them from stdin all
// the same, while there is somebody who writes. The dispatcher has read the
// project itself: what it sends is all there is.
func (f *commandLine) choose(inv *plugin.Invocation, dispatched bool) {
	inv.Source = func(ctx context.Context, apps []string) (protocol.Topology, []protocol.AppSpec, error) {
		if inv.Patience > 0 {
			fmt.Fprintf(f.streams.Err, "no documents on stdin: the apps are those of the project\n")
		}
		return f.project.Apps(ctx, f.ask, apps)
	}
	named := len(inv.Apps) > 0 || f.ask.File != ""
	if !isStream(f.streams.In) || named && f.begins() {
		return
	}
	inv.Stdin = f.streams.In
	switch {
	case dispatched:
		inv.Source, inv.Vet = nil, nil
	case named:
		inv.Patience = patience
	}
}

// forDispatcher sends progress to the events channel: the dispatcher shows it,
// and the failures that it reads from stdout.
func (f *commandLine) forDispatcher(inv *plugin.Invocation, events io.Writer) {
	writer := protocol.NewWriter(events)
	inv.Events = func(e protocol.Event) {
		// Progress is for whoever still listens; the work does not depend on it.
		_ = writer.WriteSpec(e)
	}
}

// forPerson shows progress, results and failures on stderr, or the results on
// stdout instead of documents when they are asked for as text.
func (f *commandLine) forPerson(inv *plugin.Invocation) *term.Console {
	options := term.Options{Err: f.streams.Err, Getenv: f.streams.Getenv, Quiet: f.quiet}
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
			console.Result(result, f.stage.Name, f.ask.Target)
		}
	}
	return console
}

// decodeResult returns the typed result of a stage, or nil for other documents.
func decodeResult(d protocol.Document) (s protocol.Spec) {
	var err error
	switch d.Kind {
	case protocol.KindImageRef:
		s, err = protocol.Decode[protocol.ImageRef](d)
	case protocol.KindChartRef:
		s, err = protocol.Decode[protocol.ChartRef](d)
	case protocol.KindDeployResult:
		s, err = protocol.Decode[protocol.DeployResult](d)
	case protocol.KindSmokeReport:
		s, err = protocol.Decode[protocol.SmokeReport](d)
	case protocol.KindMigrationReport:
		s, err = protocol.Decode[protocol.MigrationReport](d)
	case protocol.KindFailure: // shown as one
	default:
		s = protocol.ResultOf(d)
	}
	if err != nil {
		return nil
	}
	return s
}

// Piped reports whether stdin brings documents.
func (s Streams) Piped() bool { return isStream(s.In) }

// isStream reports whether stdin brings documents: it is a pipe, a socket or a
// file, not a terminal or /dev/null. A reader that is not a file is a stream.
func isStream(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return in != nil
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

func (f *commandLine) completeApps(_ *cobra.Command, taken []string, _ string) ([]string, cobra.ShellCompDirective) {
	names, err := f.project.Names(f.ask)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// eventsFile opens the events channel, or returns nil when there is none.
func eventsFile(number string) *os.File {
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 3 {
		return nil
	}
	if errors.Is(syscall.Fstat(fd, &syscall.Stat_t{}), syscall.EBADF) {
		return nil
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "events")
}
