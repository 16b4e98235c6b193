// Package process runs a stage plugin as a child process: documents go in,
// results come back by app. It is what the proxies stand on that implement a
// capability by a process.
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

// stopDelay is how long a stage may take to end after it was asked to.
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
	mailboxes map[string][]result
	whole     []result // those of the stage as a whole
}

// Observer takes what the processes tell beside their results.
type Observer struct {
	// Event takes progress, and Line a line of a stage's stderr.
	Event func(protocol.Event)
	Line  func(string)
	// Cluster takes the result of one cluster of a target: the deploy goes on. It
	// may be nil for a stage that does not deploy.
	Cluster func(protocol.DeployResult)
}

// Plugin is a stage to start.
type Plugin struct {
	Path string
	// Flags are those of its command line.
	Flags []string
	// Registry gives the stage the credentials of the registry.
	Registry bool
	// Later is set for a stage that starts before there is work for it: it gives way
	// to other processes.
	Later bool
}

// Start starts a stage plugin. When ctx is cancelled it gets SIGTERM, and is killed with what
// it started when it does not end. Whatever comes of it is to be closed. A plugin
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
		ended: make(chan struct{}), sent: map[string]int{}, mailboxes: map[string][]result{},
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
		_ = syscall.Setpriority(syscall.PRIO_PGRP, p.child.Process().Pid, 10) // else it is only in the way
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
			return // the end, or a plugin that garbles its progress: nobody depends on it
		}
		if e, err := protocol.Decode[protocol.Event](d); err == nil {
			show(e)
		}
	}
}

// readResults hands what the stage writes to whoever waits for it. What the
// stage only forwards is not a result. Nothing more comes of a stage that writes
// what nobody can read, even if it goes on.
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
		r := result{document: d}
		if d.Kind == protocol.KindDeployResult && see.Cluster != nil {
			if deployed, err := protocol.Decode[protocol.DeployResult](d); err == nil {
				if r.spec = deployed; deployed.Cluster != "" {
					see.Cluster(deployed)
					continue
				}
			}
		}
		if err := p.deliver(r); err != nil {
			return err
		}
	}
}

// Path is that of the plugin.
func (p *Process) Path() string { return p.path }

// EndInput tells the stage that no more documents come.
func (p *Process) EndInput() error { return p.endInput() }

// Close lets the stage end and waits for it. The status is that of the process;
// a signal that killed it is an error.
func (p *Process) Close() error {
	_ = p.endInput() // of a pipe in this process
	<-p.ended
	err := p.child.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return nil // told by Failure documents
	}
	return err
}
