// Package process runs a stage plugin as a child process: documents go in, results
// come back by app. The pipeline's proxies use it to implement capabilities.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	child "github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// stopDelay is how long a stage may take to exit after SIGTERM.
const stopDelay = 15 * time.Second

// Process is a running stage. Documents go in for one app at a time; the
// results come back by app.
type Process struct {
	path     string
	child    *child.Child
	in       *protocol.Writer
	endInput func() error  // closes stdin
	ended    chan struct{} // closed when stdout has been read to its end

	mu        sync.Mutex
	arrived   sync.Cond      // a document, or the end
	over      bool           // no more results come
	broken    error          // why, if not by the end of the stage
	sent      map[string]int // documents that the stage has yet to forward
	mailboxes map[string][]protocol.Document
	whole     []protocol.Document // those of the stage as a whole
}

// Observer gets the output of a process other than its results.
type Observer struct {
	// Event gets progress, and Line a line of the stage's stderr.
	Event func(protocol.Event)
	Line  func(string)
	// Cluster gets the result of one cluster of a target, while the deploy continues.
	// It may be nil for a stage that does not deploy.
	Cluster func(protocol.DeployResult)
}

// Plugin is a stage to start.
type Plugin struct {
	Path string
	// Flags are those of its command line.
	Flags []string
	// Registry gives the stage the credentials of the registry.
	Registry bool
	// Later lowers the priority of a stage that starts before there is work for it.
	Later bool
}

// Start starts a stage plugin; the caller must close it. When ctx is cancelled the
// plugin gets SIGTERM and, if it does not exit, is killed with its children. A plugin
// that cannot be started is an error of status protocol.ExitUnsupported.
func Start(ctx context.Context, plugin Plugin, see Observer) (*Process, error) {
	events, eventsIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer eventsIn.Close()
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	stderr := &child.Lines{Show: see.Line}
	p := &Process{
		path: plugin.Path, in: protocol.NewWriter(in), endInput: in.Close,
		ended: make(chan struct{}), sent: map[string]int{}, mailboxes: map[string][]protocol.Document{},
	}
	p.arrived.L = &p.mu
	env := child.WithoutRegistry()
	if plugin.Registry {
		env = os.Environ()
	}
	p.child, err = child.Start(ctx, child.Command{
		Args: append([]string{plugin.Path, "--output", "json"}, plugin.Flags...), Env: append(env, "HARMONY_EVENTS_FD=3"),
		Stdin: stdin, Stdout: stdout, Stderr: stderr, Files: []*os.File{eventsIn}, Grace: stopDelay,
	})
	if err != nil {
		events.Close()
		return nil, protocol.Unsupported("start %s: %w", plugin.Path, err)
	}
	if plugin.Later {
		_ = syscall.Setpriority(syscall.PRIO_PGRP, p.child.Process().Pid, 10) // optional
	}
	go func() {
		<-p.child.Done()
		stderr.Flush()
		stdin.Close()
		stdout.Close()
	}()
	go readEvents(events, see.Event)
	go p.readResults(out, see)
	return p, nil
}

func readEvents(r io.ReadCloser, show func(protocol.Event)) {
	defer r.Close()
	reader := protocol.NewReader(r)
	for {
		d, err := reader.Next()
		if err != nil {
			return // the end, or garbled progress, on which nothing depends
		}
		if e, err := protocol.Decode[protocol.Event](d); err == nil {
			show(e)
		}
	}
}

// readResults delivers the results of the stage; a document that it only forwards is
// not one. After unreadable output nothing more is delivered, even if the stage
// continues.
func (p *Process) readResults(stdout io.Reader, see Observer) {
	defer close(p.ended)
	broken := p.read(protocol.NewReader(stdout), see)
	p.mu.Lock()
	p.over, p.broken = true, broken
	p.arrived.Broadcast()
	p.mu.Unlock()
	_, _ = io.Copy(io.Discard, stdout)
}

func (p *Process) read(reader *protocol.Reader, see Observer) error {
	for {
		d, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s wrote unexpected output to stdout: %w", p.path, err)
		}
		if p.forwarded(d) {
			continue
		}
		if d.Kind == protocol.KindDeployResult && see.Cluster != nil {
			if deployed, err := protocol.Decode[protocol.DeployResult](d); err == nil && deployed.Cluster != "" {
				see.Cluster(deployed)
				continue
			}
		}
		if err := p.deliver(d); err != nil {
			return err
		}
	}
}

// Path is that of the plugin.
func (p *Process) Path() string { return p.path }

// EndInput closes the stage's stdin: no more documents come.
func (p *Process) EndInput() error { return p.endInput() }

// Close closes the stage's stdin and waits for its end. A signal that killed it is an
// error; an exit status is not.
func (p *Process) Close() error {
	_ = p.endInput() // of a pipe in this process
	<-p.ended
	err := p.child.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return nil // Failure documents report it
	}
	return err
}
