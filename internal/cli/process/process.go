// Package process starts child processes and tells of their failures with the
// output that explains them.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// grace is how long a cancelled child may take after SIGTERM.
const grace = 5 * time.Second

// Command is a child process to run.
type Command struct {
	// Args are the program and its arguments. A program without a slash is
	// looked up on PATH.
	Args []string
	// Dir is the working directory; the caller's own when empty.
	Dir string
	// Env is the whole environment; the caller's own when nil.
	Env []string
	// Stdin is what the child reads; nothing when nil.
	Stdin io.Reader
}

// Error is the failure of a child process. It is printed once, at the top.
type Error struct {
	// Args are the program and its arguments.
	Args []string
	// Output is what the child wrote to stderr, or to stdout when stderr is
	// empty.
	Output []byte
	// Err is why it counts as failed: its exit status, a signal, or why it did
	// not start.
	Err error
}

// Error is the program, why it failed, and its output in lines of its own.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v", strings.Join(e.Args, " "), e.Err)
	if output := bytes.TrimSpace(e.Output); len(output) > 0 {
		text += "\n" + string(output)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Output runs the command to its end and returns what it wrote to stdout. When
// ctx is cancelled the child gets SIGTERM, and is killed if it has not ended
// five seconds later. The error is an [*Error], which holds ctx's error if that
// is the cause.
func Output(ctx context.Context, c Command) ([]byte, error) {
	if len(c.Args) == 0 {
		return nil, &Error{Err: errors.New("no command")}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.Dir, c.Env, c.Stdin
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	failure := &Error{Args: c.Args, Output: stderr.Bytes(), Err: err}
	if len(bytes.TrimSpace(failure.Output)) == 0 {
		failure.Output = stdout.Bytes()
	}
	return stdout.Bytes(), failure
}
