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

	"github.com/nationtech/harmony/internal/cli/term"
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
	plugin, err := Find()
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
	ready := make(chan result, 1)
	go func() { // images need not wait for it
		p, err := start(ctx, plugin.Path, flags, env)
		ready <- result{p, err}
	}()
	r := registry(sync.OnceValue(func() result { return <-ready }))
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
		if started := r(); started.err == nil { // else it was told, or nobody asked for it
			errs = append(errs, started.process.Close())
		}
	}
	s.started = nil
	return errors.Join(errs...)
}

// result is a process that was started, or why it was not.
type result struct {
	process *process.Process
	err     error
}

// registry is the HelmRegistry behind a process, for which it waits.
type registry func() result

// PushChart implements [capability.HelmRegistry].
func (r registry) PushChart(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	started := r()
	if started.err != nil {
		return protocol.ChartRef{}, started.err
	}
	if err := started.process.Send(app, image); err != nil {
		return protocol.ChartRef{}, err
	}
	return process.Await[protocol.ChartRef](ctx, started.process, app.Name)
}
