package appplugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// deadline limits an answer, and grace the time to exit after SIGTERM.
	deadline = time.Minute
	grace    = 2 * time.Second
	// maxOutput limits stdout and stderr, each.
	maxOutput = 2 * protocol.MaxDocument
	// maxShown is the part of stderr that is shown, in bytes.
	maxShown = 2000
)

// Question is a run of a plugin.
type Question struct {
	// Args are the command line, and Stdin the documents, if any.
	Args  []string
	Stdin []protocol.Spec
	// Dir is the plugin's working directory; the current one when empty.
	Dir string
}

// Ask runs the plugin and returns the known documents of its answer. A Failure among them
// is an error, as is any other exit status than 0. The plugin's children end with it.
func Ask(ctx context.Context, p discovery.Plugin, q Question) ([]protocol.Document, error) {
	documents, err := ask(ctx, p, q, deadline)
	if err != nil {
		return nil, About(p, err)
	}
	return documents, nil
}

// About adds the plugin to an error, and keeps its status and hint.
func About(p discovery.Plugin, err error) error {
	return &protocol.Error{Code: protocol.ExitCode(err), Hint: protocol.HintOf(err), Err: fmt.Errorf("plugin %s: %w", p.Path, err)}
}

func ask(ctx context.Context, p discovery.Plugin, q Question, deadline time.Duration) ([]protocol.Document, error) {
	var input bytes.Buffer
	writer := protocol.NewWriter(&input)
	for _, s := range q.Stdin {
		if err := writer.WriteSpec(s); err != nil {
			return nil, err
		}
	}
	limited, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	stdout, stderr := &process.Buffer{Limit: maxOutput}, &process.Buffer{Limit: maxOutput}
	err := process.Run(limited, process.Command{
		Args: append([]string{p.Path}, q.Args...), Dir: q.Dir, Stdin: &input, Stdout: stdout, Stderr: stderr, Grace: grace,
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, fmt.Errorf("no answer within %s", deadline)
	case stdout.Over || stderr.Over:
		return nil, fmt.Errorf("it wrote more than %d bytes", maxOutput)
	}
	return Answer(stdout.Bytes(), shown(stderr.Bytes()), err)
}

// Answer reads a plugin's stdout. told, the end of its stderr, and failed, the error of its
// exit, are for the error.
func Answer(text []byte, told string, failed error) ([]protocol.Document, error) {
	var documents []protocol.Document
	reader := protocol.NewReader(bytes.NewReader(text))
	for {
		document, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF) && failed != nil:
			return nil, fmt.Errorf("%w%s", failed, told)
		case errors.Is(err, io.EOF) && len(documents) == 0:
			return nil, fmt.Errorf("it wrote no documents%s", told)
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, fmt.Errorf("invalid answer: %s%s", term.Clean(err.Error()), told)
		case !document.Known():
		case document.Kind == protocol.KindFailure:
			failure, err := protocol.Decode[protocol.Failure](document)
			if err != nil {
				return nil, err
			}
			failure.Message, failure.Hint = term.Clean(failure.Message), term.Clean(failure.Hint)
			if failure.Code == protocol.ExitOK {
				failure.Code = protocol.ExitFailed
			}
			return nil, failure.Err()
		default:
			documents = append(documents, document)
		}
	}
}

// shown is the end of the plugin's stderr, to follow a message.
func shown(stderr []byte) string {
	text := strings.TrimSpace(term.Clean(strings.ToValidUTF8(string(stderr), "")))
	if len(text) > maxShown {
		text = "…" + strings.ToValidUTF8(text[len(text)-maxShown:], "")
	}
	if text == "" {
		return ""
	}
	return ":\n" + text
}
