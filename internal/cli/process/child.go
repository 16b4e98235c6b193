package process

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nationtech/harmony/pkg/plugin/signals"
)

const (
	// defaultGrace is how long a cancelled child may take to exit after SIGTERM.
	defaultGrace = 5 * time.Second
	// settle is how long a child's children may still write after its end.
	settle = 500 * time.Millisecond
)

// Child is a running child process, the leader of its own process group: a
// Ctrl-C on the terminal reaches it through this process, once.
type Child struct {
	cmd   *exec.Cmd
	grace time.Duration

	ours, theirs []*os.File // the ends of its pipes
	outputs      []func()   // copy what it writes
	input        func()     // copies what it reads; may be nil

	exited, done chan struct{}
	mu           sync.Mutex
	broken       error // of a writer, or of the reader of its input
	err          error // how it ended; read it after done
}

// Start starts the command. When ctx is cancelled, its process group gets SIGTERM, and
// SIGKILL after the grace period. Children that remain in its group end with it. It does
// not outlive this process: a second SIGTERM or SIGINT ends its group too and, on Linux,
// so does a SIGKILL of this process.
func Start(ctx context.Context, c Command) (*Child, error) {
	if len(c.Args) == 0 {
		return nil, errNoCommand
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	child := &Child{cmd: exec.Command(c.Args[0], c.Args[1:]...), grace: cmp.Or(c.Grace, defaultGrace), exited: make(chan struct{}), done: make(chan struct{})}
	child.cmd.Dir, child.cmd.Env, child.cmd.ExtraFiles, child.cmd.SysProcAttr = c.Dir, c.Env, c.Files, attributes()
	if c.Env == nil {
		child.cmd.Env = Environ()
	}
	err := child.connect(c)
	if err == nil {
		started := make(chan error)
		go child.run(ctx, started)
		err = <-started
	}
	if err != nil {
		closeAll(slices.Concat(child.theirs, child.ours))
		return nil, err
	}
	return child, nil
}

// Detach starts the command in its own session, so that it outlives this process. Stdout
// and Stderr must be files.
func Detach(c Command) (*Child, error) {
	child := &Child{cmd: exec.Command(c.Args[0], c.Args[1:]...), done: make(chan struct{})}
	child.cmd.Dir, child.cmd.Env, child.cmd.Stdout, child.cmd.Stderr = c.Dir, Environ(), c.Stdout, c.Stderr
	child.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(child.done)
		child.err = child.cmd.Wait()
	}()
	return child, nil
}

// Process is that of the child, for signals.
func (c *Child) Process() *os.Process { return c.cmd.Process }

// Code is the exit status of the child once it has ended, -1 when a signal ended
// it.
func (c *Child) Code() int { return c.cmd.ProcessState.ExitCode() }

// Done is closed when the child has ended and its output was read.
func (c *Child) Done() <-chan struct{} { return c.done }

// Wait waits for the end of the child. The error is an [*exec.ExitError] when it
// failed, or that of a writer.
func (c *Child) Wait() error {
	<-c.done
	return c.err
}

// run starts the child and waits for its end on one thread: to the kernel, the thread that
// started a child is its parent.
func (c *Child) run(ctx context.Context, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.cmd.Start()
	if err != nil {
		started <- err
		return
	}
	closeAll(c.theirs)
	over := signals.BeforeEnd(ctx, func() { c.signal(syscall.SIGKILL) })
	defer context.AfterFunc(ctx, c.cancel)()
	copied := c.copy()
	close(started)
	err = c.cmd.Wait()
	close(c.exited)
	patience := settle
	if ctx.Err() != nil {
		patience = c.grace
	}
	within(patience, copied)
	c.signal(syscall.SIGKILL)
	within(settle, copied) // a process that left the group may keep a pipe open
	closeAll(c.ours)
	<-copied
	over()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err = err; c.broken != nil {
		c.err = c.broken
	}
	close(c.done)
}

// copy copies the child's input and output. The returned channel is closed when all output
// was read.
func (c *Child) copy() <-chan struct{} {
	copied := make(chan struct{})
	var copies sync.WaitGroup
	for _, output := range c.outputs {
		copies.Go(output)
	}
	go func() { copies.Wait(); close(copied) }()
	if c.input != nil {
		go c.input()
	}
	return copied
}

func within(d time.Duration, done <-chan struct{}) {
	select {
	case <-done:
	case <-time.After(d):
	}
}

// cancel ends the group: SIGTERM, then SIGKILL after the grace period.
func (c *Child) cancel() {
	c.signal(syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(c.grace):
		c.signal(syscall.SIGKILL)
	}
}

// signal sends a signal to the group, which may have ended.
func (c *Child) signal(s syscall.Signal) { _ = syscall.Kill(-c.cmd.Process.Pid, s) }

// connect sets up the child's input and output.
func (c *Child) connect(cmd Command) error {
	var err error
	if file, ok := cmd.Stdin.(*os.File); ok || cmd.Stdin == nil {
		if ok {
			c.cmd.Stdin = file
		}
	} else {
		var read, write *os.File
		if read, write, err = os.Pipe(); err != nil {
			return err
		}
		c.cmd.Stdin, c.theirs, c.ours = read, append(c.theirs, read), append(c.ours, write)
		c.input = func() {
			_, err := io.Copy(write, cmd.Stdin)
			c.fail(err)
			write.Close()
		}
	}
	if c.cmd.Stdout, err = c.output(cmd.Stdout); err != nil {
		return err
	}
	c.cmd.Stderr, err = c.output(cmd.Stderr)
	return err
}

// output is what the child gets to write to, for w.
func (c *Child) output(w io.Writer) (io.Writer, error) {
	if _, ok := w.(*os.File); ok || w == nil {
		return w, nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.theirs, c.ours = append(c.theirs, write), append(c.ours, read)
	c.outputs = append(c.outputs, func() {
		if _, err := io.Copy(w, read); err != nil && c.fail(err) {
			c.signal(syscall.SIGKILL)
		}
	})
	return write, nil
}

// fail keeps the first error of a copy, and reports whether it is one: a pipe that was
// closed at the end does not count.
func (c *Child) fail(err error) bool {
	if err == nil || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = err
	}
	return true
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}
