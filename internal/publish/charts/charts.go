// Package charts is the HelmRegistry of a process that links no chart library:
// it hands charts to a process of harmony-chart, which does. That one is started
// as soon as the stage is opened, so that it is there when the image is.
package charts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Stage starts the processes that make charts, one for each topology. It is safe
// for use by several goroutines.
type Stage struct {
	// Flags are those of harmony publish. They are read when a process is started.
	Flags *publish.Flags

	mu      sync.Mutex
	started []registry
}

// Open starts a process for the topology. Its error is of status
// protocol.ExitUnsupported when there is no harmony-chart.
func (s *Stage) Open(ctx context.Context, env capability.Environment) (capability.HelmRegistry, error) {
	plugin, err := lock.OfSuite(os.Getenv("PATH"), Plugin)
	if err != nil {
		return nil, err
	}
	var flags []string
	if env.DryRun {
		flags = append(flags, "--dry-run")
	}
	if s.Flags.Overwrite {
		flags = append(flags, "--overwrite")
	}
	if s.Flags.Explain {
		flags = append(flags, "--explain")
	}
	r := registry(sync.OnceValues(func() (*process.Process, error) { return start(ctx, plugin.Path, flags, env) }))
	go r() //nolint:errcheck // PushChart reports it; images need not wait for it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, r)
	return r, nil
}

func start(ctx context.Context, path string, flags []string, env capability.Environment) (*process.Process, error) {
	p, err := process.Start(ctx, process.Plugin{Path: path, Flags: flags, Registry: true, Later: true}, process.Observer{
		Event: env.Progress,
		Line:  func(line string) { fmt.Fprintln(os.Stderr, term.Clean(line)) },
	})
	if err != nil {
		return nil, err
	}
	if err := p.Send(env.Topology); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close ends the processes.
func (s *Stage) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, r := range s.started {
		if p, err := r(); err == nil { // else PushChart reported it, or was not called
			errs = append(errs, p.Close())
		}
	}
	s.started = nil
	return errors.Join(errs...)
}

// registry is the HelmRegistry behind a process, for whose start it waits.
type registry func() (*process.Process, error)

// PushChart implements [capability.HelmRegistry].
func (r registry) PushChart(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	p, err := r()
	if err == nil && image.IsNone() {
		err = p.Send(app)
	} else if err == nil {
		err = p.Send(app, image)
	}
	if err != nil {
		return protocol.ChartRef{}, err
	}
	return process.Await[protocol.ChartRef](ctx, p, app.Name)
}

// Plugin is the name of the plugin that makes charts, without its prefix.
const Plugin = "chart"

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
	plugin, err := lock.OfSuite(os.Getenv("PATH"), Plugin)
	if err != nil {
		return err
	}
	err = syscall.Exec(plugin.Path, append([]string{plugin.Path}, args...), os.Environ())
	return protocol.Unsupported("run %s: %w", plugin.Path, err)
}
