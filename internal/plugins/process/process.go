// Package process runs a stage plugin as a child process: documents go in,
// results come back by app. It is what the proxies stand on that implement a
// capability by a process.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// stopDelay is how long a stage may take to end after it was asked to.
const stopDelay = 15 * time.Second

// mailboxSize is how many documents of one app may wait to be taken.
const mailboxSize = 64

// Process is a running stage. Documents go in for one app at a time; the
// results come back by app.
type Process struct {
	path     string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	in       *protocol.Writer
	endInput func() error  // closes stdin, once
	ended    chan struct{} // closed when stdout has been read to its end
	broken   error         // why reading ended; read it after ended

	mu        sync.Mutex
	sent      map[string]int // documents that the stage has yet to forward
	mailboxes map[string]chan protocol.Document
	whole     []protocol.Document // failures of the stage as a whole
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

// Start starts the stage plugin at the path, with flags of its command line. It
// leads its own process group: a Ctrl-C on the terminal reaches it through this
// process, once. When ctx is cancelled it gets SIGTERM. Whatever comes of it is
// to be closed. A plugin that cannot be started is an error of status
// protocol.ExitUnsupported.
func Start(ctx context.Context, path string, flags []string, see Observer) (*Process, error) {
	args := append([]string{"--output", "json"}, flags...)
	p := &Process{
		path:  path,
		ended: make(chan struct{}),
		sent:  map[string]int{}, mailboxes: map[string]chan protocol.Document{},
	}
	p.cmd = exec.CommandContext(ctx, path, args...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopDelay
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env = append(os.Environ(), "HARMONY_EVENTS_FD=3")
	events, eventsIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer eventsIn.Close()
	p.cmd.ExtraFiles = []*os.File{eventsIn}
	stdout, err := p.connect(see)
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		events.Close()
		return nil, protocol.Unsupported("start %s: %w", path, err)
	}
	go readEvents(events, see.Event)
	go p.readResults(stdout, see)
	return p, nil
}

// connect sets up the pipes. It returns stdout.
func (p *Process) connect(see Observer) (io.Reader, error) {
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.in, p.endInput = protocol.NewWriter(p.stdin), sync.OnceValue(p.stdin.Close)
	p.cmd.Stderr = &lineWriter{show: see.Line}
	return p.cmd.StdoutPipe()
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

// lineWriter shows whole lines.
type lineWriter struct {
	show func(string)
	rest []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		w.show(string(line))
		w.rest = rest
	}
}

// readResults hands what the stage writes to whoever waits for it. What the
// stage only forwards is not a result.
func (p *Process) readResults(stdout io.Reader, see Observer) {
	defer close(p.ended)
	reader := protocol.NewReader(stdout)
	for {
		d, err := reader.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				p.broken = fmt.Errorf("%s wrote something else than documents to stdout: %w", p.path, err)
				_, _ = io.Copy(io.Discard, stdout)
			}
			return
		}
		if p.forwarded(d) {
			continue
		}
		if result, ok := ofCluster(d); ok && see.Cluster != nil {
			see.Cluster(result)
			continue
		}
		p.deliver(d)
	}
}

// ofCluster is the result of one cluster of a target.
func ofCluster(d protocol.Document) (protocol.DeployResult, bool) {
	if d.Kind != protocol.KindDeployResult {
		return protocol.DeployResult{}, false
	}
	result, err := protocol.Decode[protocol.DeployResult](d)
	return result, err == nil && result.Cluster != ""
}

// Path is that of the plugin.
func (p *Process) Path() string { return p.path }

// EndInput tells the stage that no more documents come.
func (p *Process) EndInput() error { return p.endInput() }

// Close lets the stage end and waits for it. The status is that of the process;
// a signal that killed it is an error.
func (p *Process) Close() error {
	closed := p.endInput()
	<-p.ended
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return nil // told by Failure documents
	}
	return errors.Join(err, closed)
}
