package buildable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// programPrefix begins the names of buildables among the plugins.
const programPrefix = "buildable-"

// programDeadline bounds a run, which may compile something; programGrace is how long
// the executable may take to exit after SIGTERM.
const (
	programDeadline = 15 * time.Minute
	programGrace    = 2 * time.Second
)

const (
	// lastLines is how many lines of stderr are shown when an executable fails.
	lastLines = 20
	// longest is the longest line that is shown, in bytes.
	longest = 1000
)

type program struct {
	name, path string
	deadline   time.Duration
}

// find looks for the executable of the app's type.
func (o Options) find() (program, error) {
	kind := o.App.Image.Buildable.Type
	plugin, err := o.Finder.Find(programPrefix + kind)
	if err == nil {
		return program{discovery.Prefix + plugin.Name, plugin.Path, programDeadline}, nil
	}
	known := Types()
	for _, p := range o.Finder.List() {
		if name, ok := strings.CutPrefix(p.Name, programPrefix); ok {
			known = append(known, name)
		}
	}
	if slices.Contains(known, kind) {
		return program{}, err // refused
	}
	name := discovery.Prefix + programPrefix + kind
	missing := protocol.Unsupported("%s: image.buildable: type %q is neither %s nor an executable %s on PATH", o.App.Name, kind, strings.Join(Types(), ", "), name)
	if near := nearest.Name(kind, known); near != "" {
		return program{}, missing.WithHint("did you mean %s?", near)
	}
	return program{}, missing.WithHint("put an executable %s into a folder of PATH; docs/buildables.md says what it has to do", name)
}

// run has the executable fill the folder, and returns its answer.
func (p program) run(ctx context.Context, o Options, document []byte, dir string) (protocol.BuildContext, error) {
	o.progress("write", p.name)
	limited, cancel := context.WithTimeout(ctx, p.deadline)
	defer cancel()
	var last []string
	stdout := &process.Buffer{Limit: protocol.MaxDocument + 1}
	stderr := &process.Lines{Max: longest, Show: func(line string) {
		if line = term.OneLine(line); line == "" {
			return
		}
		o.progress("write", line)
		if last = append(last, line); len(last) > lastLines {
			last = last[1:]
		}
	}}
	err := process.Run(limited, process.Command{
		Args: []string{p.path, dir}, Dir: o.App.ProjectRoot, Env: append(process.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", o.Created.Unix())),
		Stdin: bytes.NewReader(document), Stdout: stdout, Stderr: stderr, Grace: programGrace,
	})
	stderr.Flush()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return protocol.BuildContext{}, fmt.Errorf("%s: %w", p.name, context.Cause(ctx))
	case stdout.Over:
		return protocol.BuildContext{}, fmt.Errorf("%s wrote more than the %d bytes to stdout that a document can have", p.name, protocol.MaxDocument)
	case errors.Is(err, context.DeadlineExceeded):
		return protocol.BuildContext{}, fmt.Errorf("%s did not end within %s", p.name, p.deadline)
	case err != nil && !errors.As(err, &exit):
		return protocol.BuildContext{}, fmt.Errorf("%s: %w", p.path, err)
	}
	return p.answer(bytes.TrimSpace(stdout.Bytes()), strings.Join(append([]string{""}, last...), "\n"), exit, o.App.Name)
}

// answer reads the document on stdout: a BuildContext, or a Failure.
func (p program) answer(text []byte, stderr string, exit *exec.ExitError, app string) (protocol.BuildContext, error) {
	document, err := protocol.Parse(text)
	if err == nil && document.Kind == protocol.KindFailure {
		failure, err := protocol.Decode[protocol.Failure](document)
		if err == nil {
			return protocol.BuildContext{}, fmt.Errorf("%s: %w", p.name, failure.Err())
		}
	}
	if exit != nil {
		failed := &protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("%s: %w%s", p.name, exit, stderr)}
		if code := exit.ExitCode(); code >= protocol.ExitInvalid && code <= protocol.ExitRetryable {
			failed.Code = code
		}
		return protocol.BuildContext{}, failed
	}
	if len(text) == 0 {
		return protocol.BuildContext{}, fmt.Errorf("%s exited without an answer: want one BuildContext document on stdout%s", p.name, stderr)
	}
	if err == nil && (document.Kind != protocol.KindBuildContext || !document.Known()) {
		err = fmt.Errorf("it is kind %s of %s", term.OneLine(string(document.Kind)), term.OneLine(document.APIVersion))
	}
	var said protocol.BuildContext
	if err == nil {
		said, err = protocol.Decode[protocol.BuildContext](document)
	}
	if err == nil && said.Name != app {
		err = fmt.Errorf("it is about %q, not %q", term.OneLine(said.Name), app)
	}
	if err != nil {
		return said, fmt.Errorf("%s did not answer with one BuildContext document: %s%s", p.name, term.OneLine(err.Error()), stderr)
	}
	return said, nil
}
