// Package process is the only way in which harmony starts child processes: each in its
// own process group that ends with it, without the caller's secrets, with bounded output,
// and with one rule for cancelling.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// maxOutput limits the stdout of [Output], and maxKept the part of stderr that it keeps
// for the error.
const (
	maxOutput = 256 << 20
	maxKept   = 64 << 10
)

// Command is a child process to run.
type Command struct {
	// Args are the program and its arguments. A program without a slash is
	// looked up on PATH.
	Args []string
	// Dir is the working directory; the caller's own when empty.
	Dir string
	// Env is the whole environment; that of [Environ] when nil.
	Env []string
	// Stdin is the child's input; empty when nil.
	Stdin io.Reader
	// Stdout and Stderr get the child's output, which is discarded when they are nil. An
	// error of theirs ends the child. Files are passed to the child as they are.
	Stdout, Stderr io.Writer
	// Files are further files of the child, from descriptor 3 on.
	Files []*os.File
	// Grace is how long the child may take to end after SIGTERM; 5 seconds when 0.
	Grace time.Duration
}

// Error is the failure of a child process. It is printed once, at the top.
type Error struct {
	// Args are the program and its arguments.
	Args []string
	// Output is the end of the child's stderr, or of its stdout when stderr is empty.
	Output []byte
	// Err is the cause: the exit status, a signal, or why the child did not start.
	Err error
}

// Error is the program, the cause, and below them the output.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v", strings.Join(e.Args, " "), e.Err)
	if output := bytes.TrimSpace(e.Output); len(output) > 0 {
		text += "\n" + string(output)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Run runs the command to its end. The error is that of ctx if it is the cause, an
// [*exec.ExitError] if the child failed, or that of a writer.
func Run(ctx context.Context, c Command) error {
	child, err := Start(ctx, c)
	if err == nil {
		err = child.Wait()
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// Output runs the command to its end and returns its stdout. The error is an [*Error],
// which wraps that of ctx if it is the cause.
func Output(ctx context.Context, c Command) ([]byte, error) {
	stdout, stderr := &Buffer{Limit: maxOutput}, &Tail{Limit: maxKept}
	c.Stdout, c.Stderr = stdout, stderr
	err := Run(ctx, c)
	if err == nil {
		return stdout.Bytes(), nil
	}
	failure := &Error{Args: c.Args, Output: stderr.Bytes(), Err: err}
	if len(bytes.TrimSpace(failure.Output)) == 0 {
		out := stdout.Bytes()
		failure.Output = out[max(0, len(out)-maxKept):]
	}
	return stdout.Bytes(), failure
}

// errNoCommand is that of a command without arguments.
var errNoCommand = errors.New("no command")

// keepVariable lists variables, separated by commas, that children get although
// their names are those of secrets.
const keepVariable = "HARMONY_KEEP_ENV"

// Environ is the environment of this process for a child that has no use for its
// secrets: without the variables whose names are those of secrets, except the ones
// that HARMONY_KEEP_ENV names.
func Environ() []string {
	keep := strings.Split(os.Getenv(keepVariable), ",")
	return slices.DeleteFunc(WithoutRegistry(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return IsSecret(strings.ToUpper(name)) && !slices.Contains(keep, name)
	})
}

// WithoutRegistry is the environment of this process without the credentials of
// the registry, for a child that logs in elsewhere.
func WithoutRegistry() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "HARMONY_REGISTRY_")
	})
}

// WithoutRepository is an environment for git without the variables that lead to
// another repository, as in a hook, or to a program that asks for a password.
func WithoutRepository(env []string) []string {
	const left = "GIT_DIR GIT_WORK_TREE GIT_COMMON_DIR GIT_INDEX_FILE GIT_PREFIX GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE " +
		"GIT_SHALLOW_FILE GIT_GRAFT_FILE GIT_INTERNAL_SUPER_PREFIX GIT_EXTERNAL_DIFF GIT_TEMPLATE_DIR GIT_ASKPASS SSH_ASKPASS"
	return slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(strings.Fields(left), name)
	})
}

// IsSecret reports whether a variable contains a secret, by its name. The address of
// an agent and git's configuration do not count.
func IsSecret(name string) bool {
	if name == "SSH_AUTH_SOCK" || strings.HasPrefix(name, "GIT_CONFIG_") {
		return false
	}
	for _, word := range strings.Split(name, "_") {
		for _, end := range []string{"PASSWORD", "PASSWD", "PASSPHRASE", "TOKEN", "SECRET", "SECRETS", "CREDENTIAL", "CREDENTIALS"} {
			if strings.HasSuffix(word, end) {
				return true
			}
		}
		if slices.Contains([]string{"KEY", "PAT", "AUTH", "PASS"}, word) {
			return true
		}
	}
	return strings.HasSuffix(name, "_PWD")
}
