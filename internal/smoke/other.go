package smoke

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// otherGrace is how long an executable may take to exit after SIGTERM.
const otherGrace = 2 * time.Second

// otherProbe runs an executable harmony-check-NAME. Its attempts are made one after another.
type otherProbe struct {
	name, path, dir string
	request         protocol.CheckRequest
}

func newOtherProbe(s scene, check protocol.SmokeCheck) (probe, error) {
	kind := kindOf(check)
	if s.find == nil {
		return nil, protocol.Unsupported("app %s: smoke check %s: kind %s is not built in", s.app.Name, check.Name, kind)
	}
	path, err := s.find(kind)
	if err != nil {
		return nil, fmt.Errorf("app %s: smoke check %s: %w", s.app.Name, check.Name, err)
	}
	request := protocol.CheckRequest{
		Metadata: s.app.Metadata, Check: check.Name, Type: kind, Target: s.target, Cluster: s.name,
		Image: s.deployed.Image, Images: s.deployed.Images, Settings: check.Other[kind],
	}
	if s.cluster != nil {
		request.Context, request.Namespace = s.cluster.Context, s.cluster.Namespace
	}
	return &otherProbe{name: filepath.Base(path), path: path, dir: s.app.ProjectRoot, request: request}, nil
}

func (p *otherProbe) attempt(ctx context.Context) (string, error) {
	p.request.Attempt++
	if end, ok := ctx.Deadline(); ok {
		p.request.Timeout = protocol.Duration(time.Until(end).Round(time.Millisecond))
	}
	document, err := protocol.Encode(p.request)
	if err != nil {
		return "", err
	}
	stdout, stderr := &process.Buffer{Limit: protocol.MaxDocument + 1}, &process.Tail{Limit: maxOutput}
	err = process.Run(ctx, process.Command{
		Args: []string{p.path}, Dir: p.dir, Stdin: bytes.NewReader(append(document.Bytes(), '\n')),
		Stdout: stdout, Stderr: stderr, Grace: otherGrace,
	})
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case stdout.Over:
		return "", decided{fmt.Errorf("%s wrote more than the %d bytes to stdout that a document can have", p.name, protocol.MaxDocument)}
	case err != nil && !errors.As(err, &exit):
		return "", decided{fmt.Errorf("%s: %w", p.path, err)}
	}
	return p.read(bytes.TrimSpace(stdout.Bytes()), lastOf(stderr.Bytes()), exit)
}

// read makes what the executable said the outcome of the attempt.
func (p *otherProbe) read(stdout []byte, said string, exit *exec.ExitError) (string, error) {
	answer := protocol.CheckAnswer{Passed: exit == nil, Message: said}
	if len(stdout) > 0 {
		document, err := protocol.Parse(stdout)
		if err == nil && (document.Kind != protocol.KindCheckAnswer || !document.Known()) {
			err = fmt.Errorf("it is kind %s of %s", term.OneLine(string(document.Kind)), term.OneLine(document.APIVersion))
		}
		if err == nil {
			answer, err = protocol.Decode[protocol.CheckAnswer](document)
		}
		if err != nil {
			return "", decided{fmt.Errorf("%s did not answer with one CheckAnswer document: %w", p.name, err)}
		}
	}
	if exit == nil && answer.Passed {
		return answer.Message, nil
	}
	return "", p.failure(answer, exit)
}

// failure is the error of an executable that did not pass: by its exit status, one that says
// nothing about the app.
func (p *otherProbe) failure(answer protocol.CheckAnswer, exit *exec.ExitError) error {
	text := p.name
	if exit != nil {
		text += ": " + exit.Error()
	}
	if answer.Message != "" {
		text += ": " + term.Excerpt(answer.Message, maxMessage)
	}
	code := protocol.ExitFailed
	if exit != nil {
		code = exit.ExitCode()
	}
	switch {
	case code == protocol.ExitInvalid || code == protocol.ExitUnsupported || code == protocol.ExitRetryable:
		return &blocked{err: &protocol.Error{Code: code, Message: text}, final: code != protocol.ExitRetryable}
	case answer.Final:
		return decided{errors.New(text)}
	}
	return errors.New(text)
}

// lastOf is the end of a program's output, which says most.
func lastOf(output []byte) string {
	said := strings.TrimSpace(string(output))
	return said[max(0, len(said)-maxMessage):]
}
