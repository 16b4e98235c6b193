package pipeline

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

// process is a running stage. Documents go in for one app at a time; the
// results come back by app.
type process struct {
	stage, target string
	path          string
	cmd           *exec.Cmd
	stdin         io.WriteCloser
	in            *protocol.Writer
	endInput      func() error  // closes stdin, once
	ended         chan struct{} // closed when stdout has been read to its end
	broken        error         // why reading ended; read it after ended

	mu        sync.Mutex
	sent      map[string]int // documents that the stage has yet to forward
	mailboxes map[string]chan protocol.Document
	whole     []protocol.Document // failures of the stage as a whole
}

// observer takes what the processes tell beside their results.
type observer struct {
	// Event takes progress, and Line a line of a stage's stderr.
	Event func(protocol.Event)
	Line  func(string)
	// Cluster takes the result of one cluster of a target: the deploy goes on.
	Cluster func(protocol.DeployResult)
}

// startProcess starts a stage plugin. It leads its own process group: a Ctrl-C
// on the terminal reaches it through the dispatcher, once.
func startProcess(ctx context.Context, path, stage, target string, flags []string, see observer) (*process, error) {
	args := append([]string{"--output", "json"}, flags...)
	if target != "" {
		args = append(args, "--target", target)
	}
	p := &process{
		stage: stage, target: target, path: path,
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
func (p *process) connect(see observer) (io.Reader, error) {
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
func (p *process) readResults(stdout io.Reader, see observer) {
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
		if result, ok := ofCluster(d); ok {
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

func (p *process) forwarded(d protocol.Document) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := string(d.Bytes())
	if p.sent[line] == 0 {
		return false
	}
	p.sent[line]--
	return true
}

// deliver puts a document into the mailbox of its app; one of the whole stage
// into all of them, those that are yet to be opened too.
func (p *process) deliver(d protocol.Document) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.Metadata.Name == "" {
		p.whole = append(p.whole, d)
	}
	for app, box := range p.mailboxes {
		if d.Metadata.Name != app && d.Metadata.Name != "" {
			continue
		}
		select {
		case box <- d:
		default: // a stage that floods an app with documents loses the surplus
		}
	}
}

// send writes documents to the stage and opens the mailbox of the app.
func (p *process) send(app string, documents ...protocol.Document) error {
	p.mu.Lock()
	if p.mailboxes[app] == nil {
		box := make(chan protocol.Document, mailboxSize)
		for _, d := range p.whole[:min(len(p.whole), mailboxSize)] {
			box <- d
		}
		p.mailboxes[app] = box
	}
	for _, d := range documents {
		p.sent[string(d.Bytes())]++
	}
	p.mu.Unlock()
	for _, d := range documents {
		if err := p.in.Write(d); err != nil {
			// The stage is gone. It may have said why.
			<-p.ended
			_, told := p.drain(app, "")
			return told
		}
	}
	return nil
}

// await returns the next document of a kind for an app, or the failure that
// came in its place.
func (p *process) await(ctx context.Context, app string, kind protocol.Kind) (protocol.Document, error) {
	p.mu.Lock()
	box := p.mailboxes[app]
	p.mu.Unlock()
	for {
		select {
		case d := <-box:
			if found, err := match(d, kind); found || err != nil {
				return d, err
			}
		case <-p.ended:
			if err := context.Cause(ctx); err != nil {
				return protocol.Document{}, err
			}
			return p.drain(app, kind)
		}
	}
}

// drain looks through what had arrived before the stage ended. It answers with
// the document of the kind, or with an error.
func (p *process) drain(app string, kind protocol.Kind) (protocol.Document, error) {
	p.mu.Lock()
	box := p.mailboxes[app]
	p.mu.Unlock()
	for {
		select {
		case d := <-box:
			if found, err := match(d, kind); found || err != nil {
				return d, err
			}
		default:
			return protocol.Document{}, p.died()
		}
	}
}

// match reports whether a document is of the kind; a failure is an error.
func match(d protocol.Document, kind protocol.Kind) (bool, error) {
	if d.Kind != protocol.KindFailure {
		return d.Kind == kind, nil
	}
	failure, err := protocol.Decode[protocol.Failure](d)
	if err != nil {
		return false, err
	}
	return false, failure.Err()
}

// died says that the stage is gone without an answer.
func (p *process) died() error {
	return &protocol.Error{
		Code: protocol.ExitFailed, Err: p.broken,
		Message: fmt.Sprintf("%s ended without a result", p.path),
		Hint:    "run the same command again: what was done is found and not done twice",
	}
}

// close lets the stage end and waits for it. The status is that of the process;
// a signal that killed it is an error.
func (p *process) close() error {
	closed := p.endInput()
	<-p.ended
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return nil // told by Failure documents
	}
	return errors.Join(err, closed)
}
